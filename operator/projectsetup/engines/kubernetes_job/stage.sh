# Runs the steps of one stage, one after another: the first process of its container, on whose end everything in the
# container ends. It is given to `sh -c` with these words:
#
#   BUDGET TOTAL NUMBER GRACE SCRATCH SECRETS PRIVATE FRESH SSH  NAME TIMEOUT PATTERN SCRIPT COUNT KEY=VALUE... [NAME ...]
#
# BUDGET   bytes of the termination message that are kept
# TOTAL    steps of the whole recipe; NUMBER: which of them the first one here is
# GRACE    seconds between SIGTERM and SIGKILL
# SCRATCH  a directory of its own: beside the workspace, or in PRIVATE
# SECRETS  where the Secret with the credentials is mounted, or empty
# PRIVATE  a volume in memory for an ssh key, and FRESH: one for HOME and TMPDIR. Stages with credentials have both, to
#          which no other stage can write, so that nothing is found there that a step without credentials has left. Else
#          both are empty
# SSH      what git is to use as ssh when there is a key
# TIMEOUT  of the step, in whole seconds; PATTERN: for grep -E, or empty; COUNT: how many KEY=VALUE follow
#
# The environment holds WORKSPACE, HOME, TMPDIR and STEP_OUTPUTS, the file of the termination message. A step ends with
# everything that came of it. The message is read by report.py. Exit codes: 0, that of the failed step, 124 when it was
# stopped for its timeout, 125 when nothing could be run.

set -u

stage_give_up() {
    printf '[projectsetup] %s\n' "$1"
    printf '[projectsetup] %s\n' "$1" >"${STEP_OUTPUTS:-/dev/null}"
    exit 125
}

[ "$$" = 1 ] || stage_give_up 'a stage has to be the first process of its container'
for stage_tool in awk env fold grep head mkdir mkfifo rm sh sleep tail tee tr wc; do
    command -v "$stage_tool" >/dev/null 2>&1 || stage_give_up "the image has no $stage_tool"
done

stage_budget=$1 stage_total=$2 stage_number=$3 stage_grace=$4
stage_scratch=$5 stage_secrets=$6 stage_private=$7 stage_fresh=$8 stage_ssh=$9
shift 9
stage_helpers='' # what lives on when a step ends, so that the last of its output arrives
stage_running=''
stage_stopping=''
stage_timed_out=''
stage_stopped=''
stage_facts=''
stage_kept=8192
stage_sh=$(command -v sh)
stage_as_usual='' # a shell ignores these signals for what it runs in the background, which steps must not inherit
if env --default-signal=INT,QUIT true 2>/dev/null; then
    stage_as_usual="$(command -v env) --default-signal=INT,QUIT"
fi
if command -v setsid >/dev/null; then # `kill 0` in a step is to find the step alone
    stage_as_usual="$(command -v setsid) $stage_as_usual"
fi

[ -z "${BASH_VERSION-}" ] || exec 2>/dev/null # where bash tells of every process that was killed

rm -rf "$stage_scratch"
mkdir -p "$stage_scratch" || stage_give_up "cannot make $stage_scratch"
(cd "$stage_scratch" && mkfifo output copy lines split folded found timeout grace) ||
    stage_give_up "cannot make fifos in $stage_scratch"

# Sends a signal to every process but this one and the helpers. False when there is none.
stage_signal() {
    local path pid none=1
    for path in /proc/[0-9]*; do
        pid=${path#/proc/}
        case " 1 $stage_helpers " in *" $pid "*) continue ;; esac
        kill -s "$1" "$pid" 2>/dev/null && none=0
    done
    return "$none"
}

stage_stop() {
    stage_signal TERM
    stage_signal CONT
}

# A signal that comes while no step runs waits for the next one: helpers that have just begun must not meet it.
stage_pod_ends() {
    stage_stopping=1
    [ -z "$stage_running" ] || stage_stop
}

stage_alarm() {
    if [ -z "$stage_running" ]; then
        return
    elif [ -z "$stage_timed_out" ]; then
        stage_timed_out=1
        stage_stop
    else
        stage_signal KILL
    fi
}

trap stage_pod_ends TERM
trap stage_alarm USR1

# Kills what a step has left behind; returns when nothing of it is left. What multiplies faster than it can be killed
# one by one is killed all at once, with the helpers.
stage_sweep() {
    local rounds=0
    while stage_signal KILL; do
        rounds=$((rounds + 1))
        [ "$rounds" -lt 100 ] || kill -s KILL -1 2>/dev/null
        { sleep 0.02 2>/dev/null || sleep 1; } &
        wait "$!"
    done
}

# Waits for the end of a child, however often a signal comes between. Its exit code is in stage_code, unless one did:
# bash can lose it then, and never comes back from waiting for it again.
stage_wait() {
    while :; do
        wait "$1" 2>/dev/null
        stage_code=$?
        kill -0 "$1" 2>/dev/null || break
    done
}

stage_help() {
    stage_helpers="$stage_helpers $!"
}

# The output goes to the log as it comes; its end, and the first lines with the pattern, are kept for the message.
stage_listen() {
    : >"$stage_scratch/matches"
    tail -c "$stage_kept" <"$stage_scratch/copy" >"$stage_scratch/tail" &
    stage_tail=$!
    stage_help
    if [ -z "$1" ]; then
        stage_matcher=''
        tee "$stage_scratch/copy" <"$stage_scratch/output" &
        stage_tee=$!
        stage_help
        return
    fi
    LC_ALL=C tr '\r\000' '\n?' <"$stage_scratch/lines" >"$stage_scratch/split" &
    stage_help
    LC_ALL=C fold -b -w 1024 <"$stage_scratch/split" >"$stage_scratch/folded" &
    stage_help
    LC_ALL=C grep -a -E -e "$1" <"$stage_scratch/folded" >"$stage_scratch/found" &
    stage_help
    LC_ALL=C awk 'NR <= 5' <"$stage_scratch/found" >"$stage_scratch/matches" &
    stage_matcher=$!
    stage_help
    tee "$stage_scratch/copy" "$stage_scratch/lines" <"$stage_scratch/output" &
    stage_tee=$!
    stage_help
}

# SIGUSR1 to this process after so many seconds, and again after the grace.
stage_set_timer() {
    stage_timer=''
    sleep "$1" >"$stage_scratch/timeout" &
    stage_time
    sleep "$stage_grace" >"$stage_scratch/grace" & # its time begins when the other end is opened
    stage_time
    {
        read -r stage_nothing <"$stage_scratch/timeout"
        kill -s USR1 1
        read -r stage_nothing <"$stage_scratch/grace"
        kill -s USR1 1
    } &
    stage_time
}

stage_time() {
    stage_timer="$! $stage_timer" # who reads comes first, and is not told that who writes has ended
    stage_help
}

stage_stop_timer() {
    local pid
    for pid in $stage_timer; do
        kill -s KILL "$pid" 2>/dev/null
        stage_wait "$pid"
    done
}

# Credentials are for the hosts alone that the Secret names, if it names any.
stage_check_hosts() {
    local listed host
    [ -e "$stage_secrets/host" ] || return 0
    set -f # [::1]:443 is no pattern for files of the workspace
    listed=" $(tr ',\r\n\t' '    ' <"$stage_secrets/host" | tr '[:upper:]' '[:lower:]') "
    for host in $PROJECT_GIT_HOSTS; do
        case "$listed" in
        *" $host "* | *" ${host%:*} "*) ;;
        *)
            echo "the credentials Secret does not name $host in its key \`host\`"
            return 1
            ;;
        esac
    done
}

# Nobody is there to type a passphrase. Keys in OpenSSH's own format name their cipher at the beginning of their base64.
stage_check_key() {
    [ -s "$stage_secrets/ssh-privatekey" ] || return 0
    if grep -q -e 'BEGIN ENCRYPTED PRIVATE KEY' -e 'Proc-Type: 4,ENCRYPTED' "$stage_secrets/ssh-privatekey" ||
        grep '^b3BlbnNzaC1rZXktdjEAAAAA' "$stage_secrets/ssh-privatekey" | grep -q -v '^b3BlbnNzaC1rZXktdjEAAAAABG5vbmUA'; then
        echo 'ssh-privatekey in the credentials Secret has a passphrase, which the operator cannot type'
        return 1
    fi
}

stage_use_credentials() {
    stage_check_hosts && stage_check_key || exit 1
    local password="$stage_secrets/password"
    [ -s "$password" ] || password="$stage_secrets/token"
    if [ -s "$password" ]; then
        PROJECT_GIT_USERNAME=x-access-token
        if [ -s "$stage_secrets/username" ]; then
            PROJECT_GIT_USERNAME=$(tr -d '\r\n' <"$stage_secrets/username")
        fi
        PROJECT_GIT_PASSWORD=$(tr -d '\r\n' <"$password")
        export PROJECT_GIT_USERNAME PROJECT_GIT_PASSWORD
    fi
    if [ -s "$stage_secrets/ssh-privatekey" ]; then
        (
            umask 077
            for stage_file in ssh-privatekey known_hosts; do # with line ends as ssh wants them, after the last one too
                tr -d '\r' <"$stage_secrets/$stage_file" | awk 1 >"$stage_private/${stage_file#ssh-private}"
            done
        )
        export GIT_SSH_COMMAND="$stage_ssh"
    fi
}

# Before a step with credentials: nothing of an earlier one, nor a working directory elsewhere.
stage_begin_trusted() {
    [ ! -L "$WORKSPACE" ] || stage_give_up 'the workspace was replaced by a symbolic link'
    chmod -R u+rwX "$stage_fresh" 2>/dev/null # what was made read-only cannot be removed
    rm -rf "$HOME" "$TMPDIR" "$stage_private/key" "$stage_private/known_hosts"
    (umask 077 && mkdir "$HOME" "$TMPDIR") || stage_give_up 'cannot make a home for a step with credentials'
}

# A PATH on which an earlier step can put nothing.
stage_trusted_path() {
    local entry path='' IFS=:
    set -f
    for entry in $PATH; do
        case $entry in
        "${WORKSPACE%/*}" | "${WORKSPACE%/*}"/* | [!/]* | '') ;;
        *) path="$path:$entry" ;;
        esac
    done
    set +f
    PATH=${path#:}
}

# In a process of its own, which becomes the shell of the step; the words are those of the step and of all after it.
stage_become_step() {
    local script="$4" count="$5"
    shift 5
    cd "$WORKSPACE" || exit 125
    umask 022
    ulimit -c 0
    echo 1000 2>/dev/null >/proc/self/oom_score_adj # rather than this stage
    unset KUBERNETES_PORT KUBERNETES_PORT_443_TCP KUBERNETES_PORT_443_TCP_ADDR KUBERNETES_PORT_443_TCP_PORT \
        KUBERNETES_PORT_443_TCP_PROTO KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT KUBERNETES_SERVICE_PORT_HTTPS
    [ -z "$stage_fresh" ] || stage_trusted_path
    [ -z "$stage_secrets" ] || stage_use_credentials
    while [ "$count" -gt 0 ]; do
        export "$1"
        shift
        count=$((count - 1))
    done
    # shellcheck disable=SC2086 # words of a command, or nothing
    exec $stage_as_usual "$stage_sh" -euc "$script"
}

# Runs the first step of the words; how it ended is in stage_code, stage_timed_out and, for the end of the pod,
# stage_stopped. The witness of its end is met by no signal.
stage_run() {
    stage_marker="[projectsetup] step $1 ($stage_number/$stage_total)"
    printf '%s\n' "$stage_marker"
    [ -z "$stage_fresh" ] || stage_begin_trusted
    if ! { [ -d "$WORKSPACE" ] && [ -d "$HOME" ] && [ -d "$TMPDIR" ]; }; then
        mkdir -p "$WORKSPACE" "$HOME" "$TMPDIR" 2>/dev/null
    fi
    printf '%s\n' "$stage_marker" >"$STEP_OUTPUTS" # should the container be killed, this is all that it tells
    stage_timed_out=''
    stage_listen "$3"
    stage_listeners=$stage_helpers
    stage_set_timer "$2"
    : >"$stage_scratch/code"
    {
        (stage_become_step "$@") 2>&1
        stage_code=$?
        echo "$stage_code" >"$stage_scratch/code"
        exit "$stage_code"
    } </dev/null >"$stage_scratch/output" 2>/dev/null & # where a shell tells that a signal ended the step
    stage_witness=$!
    stage_help
    stage_running=1
    [ -z "$stage_stopping" ] || stage_stop
    stage_wait "$stage_witness"
    stage_running=''
    stage_stopped=$stage_stopping
    stage_helpers=$stage_listeners
    if [ -s "$stage_scratch/code" ]; then
        read -r stage_code <"$stage_scratch/code"
    elif [ -n "$stage_stopping$stage_timed_out" ]; then
        stage_code=137
    fi
    stage_end=$stage_code
    stage_stop_timer
    stage_sweep
    for stage_listener in $stage_tee $stage_tail $stage_matcher; do
        stage_wait "$stage_listener"
    done
    stage_helpers=''
    stage_code=$stage_end
    if [ -n "$stage_secrets" ]; then
        rm -f "$stage_private/key" "$stage_private/known_hosts"
    fi
    if [ -s "$stage_scratch/tail" ] && [ -n "$(tail -c 1 "$stage_scratch/tail" | tr '\000' '?')" ]; then
        echo
    fi
}

# What the step told, the last of each, besides what steps before it told. What is not understood is named in the log.
stage_collect_facts() {
    [ -s "$STEP_OUTPUTS" ] || return 0
    { stage_facts=$(stage_read_facts); } 3>&1
}

stage_read_facts() {
    {
        printf '%s\n' "$stage_facts"
        head -c 65536 "$STEP_OUTPUTS" | grep -a -v -x -F -e "$stage_marker"
    } | tr -d '\000' | LC_ALL=C awk '
        {
            at = index($0, "=")
            key = substr($0, 1, at - 1)
            value = substr($0, at + 1)
            gsub(/^[ \t]+|[ \t\r]+$/, "", key)
            gsub(/^[ \t]+|[ \t\r]+$/, "", value)
            known = key == "CODE_COMMIT" || key == "DOCS_COMMIT"
            if (known && length(value) >= 40 && length(value) <= 64 && value !~ /[^0-9a-f]/) {
                facts[key] = value
                next
            }
            gsub(/^[ \t]+|[ \t\r]+$/, "")
            gsub(/[[:cntrl:]]/, "?")
            expected = "expected CODE_COMMIT= or DOCS_COMMIT= and a full commit id"
            if ($0 != "" && ignored++ < 5)
                print "[projectsetup] ignored in $STEP_OUTPUTS (" expected "): " substr($0, 1, 200) | "cat >&3"
        }
        END { for (key in facts) print key "=" facts[key] }'
}

# What the failed step printed, in at most so many bytes: match=LINE for each line with the pattern, an empty line, and
# the last lines; without the values of the credentials.
stage_text() {
    local full=0
    [ "$(wc -c <"$stage_scratch/tail")" -lt "$stage_kept" ] || full=1
    LC_ALL=C tr '\r\000' '\n?' <"$stage_scratch/tail" >"$stage_scratch/last"
    LC_ALL=C awk -v room="$1" -v full="$full" -v secrets="$stage_secrets" -v scratch="$stage_scratch" '
        function know(file, line) {
            while ((getline line < file) > 0) {
                gsub(/^[ \t\r]+|[ \t\r]+$/, "", line)
                if (length(line) >= 4) secret[++known] = line
            }
        }
        function clean(line, at, i, done) {
            for (i = 1; i <= known; i++) {
                done = ""
                while ((at = index(line, secret[i])) > 0) {
                    done = done substr(line, 1, at - 1) "***"
                    line = substr(line, at + length(secret[i]))
                }
                line = done line
            }
            return line
        }
        BEGIN {
            if (secrets != "") {
                know(secrets "/password")
                know(secrets "/token")
                know(secrets "/ssh-privatekey")
            }
            left = int(room / 2)
            while ((getline line < (scratch "/matches")) > 0) {
                line = substr("match=" clean(line), 1, left - 1)
                if (length(line) > 6) print line
                left -= length(line) + 1
                room -= length(line) + 1
                if (left < 100) break
            }
            print ""
            room--
            while ((getline line < (scratch "/last")) > 0) {
                if (full && ++read == 1) first = line
                else if (line ~ /[^ \t]/) last[++count] = clean(line)
            }
            if (full && count == 0) last[++count] = clean(substr(first, int(length(first) / 2)))
            for (begin = count + 1; begin > 1 && length(last[begin - 1]) + 1 <= room; begin--)
                room -= length(last[begin - 1]) + 1
            if (begin == count + 1 && count > 0) print substr(last[count], length(last[count]) - room + 2)
            for (; begin <= count; begin++) print last[begin]
        }'
}

# What is wrong with the file system of the workspace, a line each.
stage_volume() {
    df -P "$WORKSPACE" | awk 'NR == 2 && $4 < 1024 { print "full=1" }'
    df -P -i "$WORKSPACE" | awk 'NR == 2 && $2 > 0 && $4 < 16 { print "full=1" }'
    [ -w "$WORKSPACE" ] || echo readonly=1
    awk -v at="${WORKSPACE%/*}" '$5 == at && $6 ~ /(^|,)noexec(,|$)/ { print "noexec=1" }' /proc/self/mountinfo
}

# The termination message: NAME CODE
stage_report() {
    local wrong head="step=$1
exit=$2"
    [ -z "$stage_timed_out" ] || head="$head
timeout=1"
    [ -z "$stage_stopped" ] || head="$head
stopped=1"
    if [ "$2" != 0 ] && [ -z "$stage_timed_out$stage_stopped" ] && wrong=$(stage_volume 2>/dev/null | awk '!seen[$0]++') &&
        [ -n "$wrong" ]; then
        head="$head
$wrong"
    fi
    {
        printf '%s\n' "$head"
        if [ "$2" = 0 ]; then
            printf '%s\n' "$stage_facts"
        elif [ -e "$stage_scratch/tail" ]; then
            stage_text "$((stage_budget - ${#head} - 1))"
        fi
    } | head -c "$stage_budget" >"$STEP_OUTPUTS"
}

while [ "$#" -gt 0 ]; do
    if [ -n "$stage_stopping" ]; then
        stage_stopped=1
        rm -f "$stage_scratch/tail"
        stage_report "$1" 143
        exit 143
    fi
    stage_run "$@"
    stage_name=$1
    if [ "$stage_code" != 0 ]; then
        stage_report "$stage_name" "$stage_code"
        [ -z "$stage_timed_out" ] || exit 124
        exit "$stage_code"
    fi
    stage_collect_facts
    stage_number=$((stage_number + 1))
    shift "$((5 + $5))"
done
stage_timed_out=''
stage_stopped=''
stage_report "$stage_name" 0

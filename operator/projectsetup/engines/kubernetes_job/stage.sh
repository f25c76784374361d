# Runs the steps of one stage, one after another. It is process 1 of its container: when it ends, everything in the
# container ends. `sh -c` runs it with these arguments:
#
#   BUDGET TOTAL NUMBER GRACE SCRATCH SECRETS PRIVATE FRESH SSH  NAME TIMEOUT PATTERN SCRIPT COUNT KEY=VALUE... [NAME ...]
#
# BUDGET   bytes of the termination message that the kubelet keeps
# TOTAL    number of steps of the recipe; NUMBER: position of the first step of this stage
# GRACE    seconds between SIGTERM and SIGKILL
# SCRATCH  directory of this script: beside the workspace, or in PRIVATE
# SECRETS  mount path of the Secret with the credentials, or empty
# PRIVATE  volume in memory for an ssh key; FRESH: volume for HOME and TMPDIR. Stages with credentials have both, and no
#          other stage can write to them, so that they hold nothing that a step without credentials has left. Empty in
#          other stages
# SSH      the ssh command for git if there is a key
# TIMEOUT  of the step, in whole seconds; PATTERN: for grep -E, or empty; COUNT: number of KEY=VALUE that follow
#
# The environment holds WORKSPACE, HOME, TMPDIR and STEP_OUTPUTS, the file of the termination message. When a step ends,
# every process that it has started is killed. outcome.py reads the message. Exit codes: 0; that of the failed step; 124
# if a step exceeded its timeout; 125 if no step could run.

set -u

stage_give_up() {
    printf '[projectsetup] %s\n' "$1"
    printf '[projectsetup] %s\n' "$1" >"${STEP_OUTPUTS:-/dev/null}"
    exit 125
}

[ "$$" = 1 ] || stage_give_up 'a stage must be process 1 of its container'
for stage_tool in awk env fold grep head mkdir mkfifo rm sh sleep tail tee tr wc; do
    command -v "$stage_tool" >/dev/null 2>&1 || stage_give_up "the image has no $stage_tool"
done

stage_budget=$1 stage_total=$2 stage_number=$3 stage_grace=$4
stage_scratch=$5 stage_secrets=$6 stage_private=$7 stage_fresh=$8 stage_ssh=$9
shift 9
stage_helpers='' # processes that outlive the step, so that the last of its output arrives
stage_running=''
stage_stopping=''
stage_timed_out=''
stage_stopped=''
stage_facts=''
stage_kept=8192
stage_sh=$(command -v sh)
stage_exec_prefix='' # background processes of a shell ignore these signals, which steps must not inherit
if env --default-signal=INT,QUIT true 2>/dev/null; then
    stage_exec_prefix="$(command -v env) --default-signal=INT,QUIT"
fi
if command -v setsid >/dev/null; then # `kill 0` in a step must reach nothing else
    stage_exec_prefix="$(command -v setsid) $stage_exec_prefix"
fi

[ -z "${BASH_VERSION-}" ] || exec 2>/dev/null # bash reports every killed process

rm -rf "$stage_scratch"
mkdir -p "$stage_scratch" || stage_give_up "cannot create $stage_scratch"
(cd "$stage_scratch" && mkfifo output copy lines split folded found timeout grace) ||
    stage_give_up "cannot create fifos in $stage_scratch"

# Sends a signal to every process but this one and the helpers. Fails if there is none.
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

# A SIGTERM between two steps is passed to the next step, since helpers that have just started must not receive it.
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

# Kills what a step has left running, and returns when all of it has ended. What forks faster than it can be killed one
# by one is killed all at once, with the helpers.
stage_kill_leftovers() {
    local rounds=0
    while stage_signal KILL; do
        rounds=$((rounds + 1))
        [ "$rounds" -lt 100 ] || kill -s KILL -1 2>/dev/null
        { sleep 0.02 2>/dev/null || sleep 1; } &
        wait "$!"
    done
}

# Waits for a child to end, however many signals arrive. Its exit code is in stage_code unless one did: bash may lose the
# code then, and would wait forever for the same child.
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

# Passes the output on to the log, and keeps its end and the first lines that match the pattern for the message.
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

# Sends SIGUSR1 to this process after so many seconds, and again after the grace period.
stage_set_timer() {
    stage_timer=''
    sleep "$1" >"$stage_scratch/timeout" &
    stage_time
    sleep "$stage_grace" >"$stage_scratch/grace" & # starts when the other end is opened
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
    stage_timer="$! $stage_timer" # the reader is killed first, so that it does not see the writers end
    stage_help
}

stage_stop_timer() {
    local pid
    for pid in $stage_timer; do
        kill -s KILL "$pid" 2>/dev/null
        stage_wait "$pid"
    done
}

# If the Secret names hosts, its credentials are for these only.
stage_check_hosts() {
    local listed host
    [ -e "$stage_secrets/host" ] || return 0
    set -f # [::1]:443 must not match files of the workspace
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

# Nobody can type a passphrase. Keys in OpenSSH's own format name their cipher at the beginning of their base64.
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
            for stage_file in ssh-privatekey known_hosts; do # ssh needs Unix line ends, also after the last line
                tr -d '\r' <"$stage_secrets/$stage_file" | awk 1 >"$stage_private/${stage_file#ssh-private}"
            done
        )
        export GIT_SSH_COMMAND="$stage_ssh"
    fi
}

# Before a step with credentials: removes what an earlier one left, and checks that the workspace is still a directory.
stage_begin_trusted() {
    [ ! -L "$WORKSPACE" ] || stage_give_up 'the workspace was replaced by a symbolic link'
    chmod -R u+rwX "$stage_fresh" 2>/dev/null # read-only directories could not be removed
    rm -rf "$HOME" "$TMPDIR" "$stage_private/key" "$stage_private/known_hosts"
    (umask 077 && mkdir "$HOME" "$TMPDIR") || stage_give_up 'cannot create HOME and TMPDIR of a step with credentials'
}

# Removes from PATH what an earlier step could write to.
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

# Turns the current process into the shell of the step. The arguments are those of this step and all later ones.
stage_become_step() {
    local script="$4" count="$5"
    shift 5
    cd "$WORKSPACE" || exit 125
    umask 022
    ulimit -c 0
    echo 1000 2>/dev/null >/proc/self/oom_score_adj # before this script
    unset KUBERNETES_PORT KUBERNETES_PORT_443_TCP KUBERNETES_PORT_443_TCP_ADDR KUBERNETES_PORT_443_TCP_PORT \
        KUBERNETES_PORT_443_TCP_PROTO KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT KUBERNETES_SERVICE_PORT_HTTPS
    [ -z "$stage_fresh" ] || stage_trusted_path
    [ -z "$stage_secrets" ] || stage_use_credentials
    while [ "$count" -gt 0 ]; do
        export "$1"
        shift
        count=$((count - 1))
    done
    # shellcheck disable=SC2086 # a command and its options, or nothing
    exec $stage_exec_prefix "$stage_sh" -euc "$script"
}

# Runs the first step of the arguments. How it ended is in stage_code, stage_timed_out and, if the pod was deleted,
# stage_stopped. A witness, which receives no signal, records its exit code.
stage_run() {
    stage_marker="[projectsetup] step $1 ($stage_number/$stage_total)"
    printf '%s\n' "$stage_marker"
    [ -z "$stage_fresh" ] || stage_begin_trusted
    if ! { [ -d "$WORKSPACE" ] && [ -d "$HOME" ] && [ -d "$TMPDIR" ]; }; then
        mkdir -p "$WORKSPACE" "$HOME" "$TMPDIR" 2>/dev/null
    fi
    printf '%s\n' "$stage_marker" >"$STEP_OUTPUTS" # all that remains if the container is killed
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
    } </dev/null >"$stage_scratch/output" 2>/dev/null & # a shell reports there that a signal ended the step
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
    stage_kill_leftovers
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

# Adds the facts of the step to those of earlier steps; the last of each counts. Unknown lines are named in the log.
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

# Prints the output of the failed step in at most so many bytes, without the credentials: match=LINE for each line with
# the pattern, an empty line, and the last lines.
stage_text() {
    local full=0
    [ "$(wc -c <"$stage_scratch/tail")" -lt "$stage_kept" ] || full=1
    LC_ALL=C tr '\r\000' '\n?' <"$stage_scratch/tail" >"$stage_scratch/last"
    LC_ALL=C awk -v budget="$1" -v full="$full" -v secrets="$stage_secrets" -v scratch="$stage_scratch" '
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
            left = int(budget / 2)
            while ((getline line < (scratch "/matches")) > 0) {
                line = substr("match=" clean(line), 1, left - 1)
                if (length(line) > 6) print line
                left -= length(line) + 1
                budget -= length(line) + 1
                if (left < 100) break
            }
            print ""
            budget--
            while ((getline line < (scratch "/last")) > 0) {
                if (full && ++read == 1) first = line
                else if (line ~ /[^ \t]/) last[++count] = clean(line)
            }
            if (full && count == 0) last[++count] = clean(substr(first, int(length(first) / 2)))
            for (begin = count + 1; begin > 1 && length(last[begin - 1]) + 1 <= budget; begin--)
                budget -= length(last[begin - 1]) + 1
            if (begin == count + 1 && count > 0) print substr(last[count], length(last[count]) - budget + 2)
            for (; begin <= count; begin++) print last[begin]
        }'
}

# Prints what is wrong with the file system of the workspace, one problem a line.
stage_volume() {
    df -P "$WORKSPACE" | awk 'NR == 2 && $4 < 1024 { print "full=1" }'
    df -P -i "$WORKSPACE" | awk 'NR == 2 && $2 > 0 && $4 < 16 { print "full=1" }'
    [ -w "$WORKSPACE" ] || echo readonly=1
    awk -v at="${WORKSPACE%/*}" '$5 == at && $6 ~ /(^|,)noexec(,|$)/ { print "noexec=1" }' /proc/self/mountinfo
}

# Writes the termination message. Arguments: NAME CODE
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

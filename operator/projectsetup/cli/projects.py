"""The commands `projects …`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from projectsetup.cli import options
from projectsetup.cli.options import Output, ProjectId
from projectsetup.cli.output import Format, write
from projectsetup.git_hosts import GIT_HOSTS, GitHosts

projects = typer.Typer(no_args_is_help=True, help="The record of projects in PostgreSQL (DATABASE_URL).")


OwnNamespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        parser=options.namespace,
        metavar="NS",
        help="Namespace the project belongs to: only ProjectSetups there may set it up.",
    ),
]
AllowFileRepos = Annotated[
    bool,
    typer.Option(
        "--allow-file-repos",
        envvar="PROJECTSETUP_ALLOW_FILE_REPOS",
        help="Also take file:///path and absolute paths, for tries on one machine.",
    ),
]
AllowedHosts = Annotated[
    GitHosts,
    typer.Option(
        "--git-hosts",
        envvar=GIT_HOSTS,
        parser=options.git_hosts,
        metavar="HOST[:PORT]…",
        default_factory=GitHosts.configured,
        show_default="any but internal ones",
        help="The only hosts that repositories may be on, with spaces or commas between.",
    ),
]


@projects.command()
def create(
    *,
    name: Annotated[str, typer.Option(metavar="N", help="1 to 100 characters, unique.")],
    code_repo: Annotated[
        str, typer.Option(metavar="URL", help="Where the code is pushed: https, ssh or git@host:path.")
    ],
    docs_repo: Annotated[str | None, typer.Option(metavar="URL", help="Where the documentation is pushed.")] = None,
    description: Annotated[str, typer.Option(metavar="D", help="What the project is about.")] = "",
    namespace: OwnNamespace = None,
    project_id: Annotated[
        UUID | None,
        typer.Option("--id", parser=options.project_id, metavar="UUID", help="Its id; without it, a new one."),
    ] = None,
    allow_file_repos: AllowFileRepos = False,
    git_hosts: AllowedHosts,
) -> None:
    """Make a project, and print its id. Only ProjectSetups of its namespace may set it up."""
    from projectsetup.cli.recording import create_project
    from projectsetup.cli.running import run

    write(
        run(
            create_project(
                name=name,
                code_repo=code_repo,
                docs_repo=docs_repo,
                description=description,
                project_id=project_id,
                namespace=namespace,
                allow_file_repos=allow_file_repos,
                git_hosts=git_hosts,
            )
        )
    )


@projects.command()
def get(project_id: ProjectId, output: Output = Format.TABLE) -> None:
    """Show one project."""
    from projectsetup.cli.recording import show_project
    from projectsetup.cli.running import run

    run(show_project(project_id, output))


@projects.command("list")
def list_all(output: Output = Format.TABLE) -> None:
    """Show all projects, oldest first."""
    from projectsetup.cli.recording import show_projects
    from projectsetup.cli.running import run

    run(show_projects(output))


@projects.command()
def update(
    project_id: ProjectId,
    *,
    name: Annotated[str | None, typer.Option(metavar="N", help="1 to 100 characters, unique.")] = None,
    description: Annotated[str | None, typer.Option(metavar="D", help="What the project is about.")] = None,
    code_repo: Annotated[str | None, typer.Option(metavar="URL", help="Where the code is pushed.")] = None,
    docs_repo: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the documentation is pushed; '' for nowhere.")
    ] = None,
    namespace: OwnNamespace = None,
    allow_file_repos: AllowFileRepos = False,
    git_hosts: AllowedHosts,
) -> None:
    """Change a project that is not being set up."""
    from projectsetup.cli.recording import update_project
    from projectsetup.cli.running import run

    changes = {
        "name": name,
        "description": description,
        "code_repo": code_repo,
        "docs_repo": docs_repo,
        "namespace": namespace,
    }
    if all(value is None for value in changes.values()):
        raise typer.BadParameter("nothing to change: give at least one of --name, --description, --code-repo, …")
    run(update_project(project_id, **changes, allow_file_repos=allow_file_repos, git_hosts=git_hosts))
    write(f"project {project_id} is updated")


@projects.command()
def reset(project_id: ProjectId) -> None:
    """Make a project that is ready or failed `created` again, so that it can be set up anew.

    Its repositories stay as they are; so does the ProjectSetup, which is deleted, or asked for a retry where it failed.
    """
    from projectsetup.cli.recording import reset_project
    from projectsetup.cli.running import run

    run(reset_project(project_id))
    write(f"project {project_id} is reset")


@projects.command()
def delete(project_id: ProjectId) -> None:
    """Delete a project that is not being set up. Its repositories stay."""
    from projectsetup.cli.recording import delete_project
    from projectsetup.cli.running import run

    run(delete_project(project_id))
    write(f"project {project_id} is deleted")

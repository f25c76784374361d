"""The commands `projects …`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from projectsetup.cli import options
from projectsetup.cli.options import Output, ProjectId
from projectsetup.cli.output import Format, write
from projectsetup.git_hosts import ANY_PUBLIC_HOST, GIT_HOSTS, GitHosts

projects = typer.Typer(no_args_is_help=True, help="The record of projects in PostgreSQL (DATABASE_URL).")


@projects.command()
def create(
    *,
    name: Annotated[str, typer.Option(metavar="N", help="1 to 100 characters, unique.")],
    code_repo: Annotated[
        str, typer.Option(metavar="URL", help="Where the code is pushed: https, ssh or git@host:path.")
    ],
    docs_repo: Annotated[str | None, typer.Option(metavar="URL", help="Where the documentation is pushed.")] = None,
    description: Annotated[str, typer.Option(metavar="D", help="What the project is about.")] = "",
    project_id: Annotated[
        UUID | None,
        typer.Option("--id", parser=options.project_id, metavar="UUID", help="Its id; without it, a new one."),
    ] = None,
    allow_file_repos: Annotated[
        bool,
        typer.Option(
            "--allow-file-repos",
            envvar="PROJECTSETUP_ALLOW_FILE_REPOS",
            help="Also take file:///path and absolute paths, for tries on one machine.",
        ),
    ] = False,
    git_hosts: Annotated[
        GitHosts,
        typer.Option(
            "--git-hosts",
            envvar=GIT_HOSTS,
            parser=options.git_hosts,
            metavar="HOST[:PORT]…",
            show_default="every public one",
            help="The only hosts that repositories may be on, with spaces or commas between.",
        ),
    ] = ANY_PUBLIC_HOST,
) -> None:
    """Make a project, and print its id."""
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
def delete(project_id: ProjectId) -> None:
    """Delete a project that is not being set up. Its repositories stay."""
    from projectsetup.cli.recording import delete_project
    from projectsetup.cli.running import run

    run(delete_project(project_id))
    write(f"project {project_id} is deleted")

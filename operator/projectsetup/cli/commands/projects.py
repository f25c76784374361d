"""The commands `projects …`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from projectsetup.cli import options
from projectsetup.cli.names import titled
from projectsetup.cli.options import Output, ProjectArgument, examples
from projectsetup.cli.output import Format, write
from projectsetup.git_hosts import GIT_HOSTS, GitHosts

app = typer.Typer(
    name="projects",
    no_args_is_help=True,
    rich_help_panel="Projects and recipes",
    help="Project records in PostgreSQL (DATABASE_URL).",
)

OwnNamespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        parser=options.namespace,
        metavar="NS",
        help="Namespace the project belongs to; only ProjectSetups there may set it up.",
    ),
]
AllowFileRepos = Annotated[
    bool,
    typer.Option(
        "--allow-file-repos",
        envvar="PROJECTSETUP_ALLOW_FILE_REPOS",
        help="Also allow file:///path and absolute paths, for trials on one machine.",
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
        show_default="all but internal ones",
        help="Hosts that repositories may be on, separated by spaces or commas.",
    ),
]


@app.command(epilog=examples('projects create --name "Order Service" --code-repo https://git.example/team/orders.git'))
def create(
    *,
    name: Annotated[str, typer.Option(metavar="N", help="1 to 100 characters, unique.")],
    code_repo: Annotated[
        str, typer.Option(metavar="URL", help="Repository for the code: https, ssh or git@host:path.")
    ],
    docs_repo: Annotated[str | None, typer.Option(metavar="URL", help="Repository for the documentation.")] = None,
    description: Annotated[str, typer.Option(metavar="D", help="What the project is about.")] = "",
    namespace: OwnNamespace = None,
    project_id: Annotated[
        UUID | None,
        typer.Option("--id", parser=options.project_id, metavar="UUID", help="Project id; a new one if omitted."),
    ] = None,
    allow_file_repos: AllowFileRepos = False,
    git_hosts: AllowedHosts,
) -> None:
    """Create a project and print its id. Only ProjectSetups in its namespace may set it up."""
    from projectsetup.cli.projects import on_record

    created = on_record(
        lambda record: record.create(
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
    write(str(created.id))


@app.command()
def get(project: ProjectArgument, output: Output = Format.TABLE) -> None:
    """Show one project."""
    from projectsetup.cli.projects import show_project

    show_project(project, output)


@app.command("list", epilog=examples("projects list", "projects list -o name"))
def list_all(output: Output = Format.TABLE) -> None:
    """List all projects, oldest first."""
    from projectsetup.cli.projects import show_projects

    show_projects(output)


@app.command()
def update(
    project: ProjectArgument,
    *,
    name: Annotated[str | None, typer.Option(metavar="N", help="1 to 100 characters, unique.")] = None,
    description: Annotated[str | None, typer.Option(metavar="D", help="What the project is about.")] = None,
    code_repo: Annotated[str | None, typer.Option(metavar="URL", help="Repository for the code.")] = None,
    docs_repo: Annotated[
        str | None, typer.Option(metavar="URL", help="Repository for the documentation; '' for none.")
    ] = None,
    namespace: OwnNamespace = None,
    allow_file_repos: AllowFileRepos = False,
    git_hosts: AllowedHosts,
) -> None:
    """Change a project that is not being set up."""
    from projectsetup.cli.projects import on_project

    changes = {
        "name": name,
        "description": description,
        "code_repo": code_repo,
        "docs_repo": docs_repo,
        "namespace": namespace,
    }
    if all(value is None for value in changes.values()):
        raise typer.BadParameter("nothing to change; give at least one option such as --name")
    updated = on_project(
        project,
        lambda record, id_: record.update(id_, **changes, allow_file_repos=allow_file_repos, git_hosts=git_hosts),
    )
    write(f"project {titled(updated.name, updated.id)} updated")


@app.command()
def reset(project: ProjectArgument) -> None:
    """Reset a project that is ready or failed to `created`, so that it can be set up again.

    Its repositories and its ProjectSetup are kept. To set the project up again, delete the ProjectSetup or, if it
    failed, retry it.
    """
    from projectsetup.cli.projects import on_project

    done = on_project(project, lambda record, id_: record.reset(id_))
    write(f"project {titled(done.name, done.id)} reset")


@app.command()
def delete(project: ProjectArgument) -> None:
    """Delete a project that is not being set up. Its repositories are kept."""
    from projectsetup.cli.projects import on_project

    gone = on_project(project, lambda record, id_: record.delete(id_))
    write(f"project {titled(gone.name, gone.id)} deleted")

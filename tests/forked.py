"""Two processes of one program, forked after the imports, which take longer than everything else."""

import os


def of_two(rank, port):
    """Make this process number `rank` of two."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
                      MASTER_ADDR="127.0.0.1", MASTER_PORT=port, ACCELERATE_USE_CPU="true")


def forked(function, *arguments):
    """The id of a child process that carries out a function."""
    child = os.fork()
    if child:
        return child
    try:
        function(*arguments)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def both(work, port, *arguments):
    """Carry out `work(*arguments)` as both of two processes; the worse of their exit codes."""

    def one(rank):
        of_two(rank, port)
        work(rank, *arguments)

    children = [forked(one, rank) for rank in (0, 1)]
    return max(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) for child in children)

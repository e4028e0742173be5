"""What a command says on standard error."""


def assert_one_line(captured, *, says):
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("vaelab")
    assert says in line

import sys

import pytest

from mmlevelset.experiments.benchmarks import compile_kernels, harness, sass

TEXT = """
	.section	.text._kernel,"ax",@progbits
.text._kernel:
	//## File "/k/passes.py", line 3
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/                   S2R R0, SR_TID.X ;
.L_x_1:
	//## File "/k/products.py", line 9 inlined at "/k/passes.py", line 5
	//## File "/k/passes.py", line 5
        /*0020*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
.L_x_0:
        /*0030*/                   HADD2.BF16_V2 R8, R4, -R6.H0_H0 ;
	//## File "/k/passes.py", line 6
        /*0040*/              @!P1 BRA `(.L_x_0) ;
	//## File "/k/passes.py", line 7
        /*0050*/              @P2  BRA `(.L_x_2) ;
        /*0060*/                   FADD R8, R8, R9 ;
.L_x_2:
	//## File "/k/passes.py", line 4
        /*0070*/             @!UP0 BRA `(.L_x_1) ;
        /*0080*/                   NOP ;
        /*0090*/              @P0  EXIT ;
        /*00a0*/                   STG.E desc[UR4][R2.64], R8 ;
        /*00b0*/                   EXIT ;
.L_x_3:
        /*00c0*/                   SHFL.BFLY PT, R3, R8, 0x1, 0x1f ;
        /*00d0*/                   BRA `(.L_x_2) ;
.L_x_4:
        /*00e0*/                   BRA `(.L_x_4);
        /*00f0*/                   NOP;
"""


def test_a_loops_body_counts_as_often_as_it_runs():
    asked = []

    def trips(file, line):
        asked.append((file, line))
        return {4: 10, 6: 3}[line]

    # Two before the loops, four and the inner loop in the outer one, three from EXIT to EXIT.
    assert sass.count(TEXT, trips) == 2 + 10 * (4 + 3 * 2) + 3
    assert asked == [("/k/passes.py", 6), ("/k/passes.py", 4)]
    assert sass.count(TEXT, lambda file, line: 1) == 2 + 6 + 3


def test_text_without_an_exit_is_no_kernel():
    with pytest.raises(ValueError, match="must be SASS of a kernel"):
        sass.count("nothing\n", lambda file, line: 1)


def test_a_pass_over_its_budget_is_named():
    counts = {"forward_pass move sum": 9.26, "backward_pass move sum": 13.9, "centres": None}
    assert compile_kernels.excess(90, "bfloat16", 64, 112, counts) == [
        "forward_pass move sum takes 9.3 instructions an element, but its budget is 9."
    ]
    assert not compile_kernels.excess(80, "bfloat16", 64, 112, counts)


@pytest.fixture
def one_kernel(monkeypatch):
    """One compiled kernel, which the test describes, in place of the compiler."""
    used = {"REG": 40, "STACK": 0, "LOCAL": 0, "SHARED": 0}
    kernels = {"forward_pass move sum": compile_kernels.Compiled(None, {})}
    found = {"spills": 0, "instructions": 8.5}
    monkeypatch.setattr(compile_kernels, "compile_all", lambda *words: kernels)
    monkeypatch.setattr(
        compile_kernels, "resources", lambda kernel: used | {"STACK": found["spills"]}
    )
    monkeypatch.setattr(compile_kernels, "instructions", lambda *words: found["instructions"])
    monkeypatch.setitem(sys.modules, "triton", type(harness)("triton"))
    sys.modules["triton"].__version__ = "0"
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    return found


WORDS = ["--capability", "90", "--channels", "64", "--size", "112", "--dtype", "bfloat16"]


def test_the_command_ends_well_and_prints_the_count(one_kernel, capsys):
    compile_kernels.main(WORDS)
    assert capsys.readouterr().out.rstrip().endswith("8.5 |")


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({"instructions": 9.2}, "takes 9.2 instructions"),
        ({"spills": 8}, "forward_pass move sum spills for sm_90, bfloat16, C = 64, H = W = 112."),
    ],
)
def test_the_command_fails_where_a_kernel_is_too_dear(one_kernel, found, line):
    one_kernel.update(found)
    with pytest.raises(SystemExit, match=line) as end:
        compile_kernels.main(WORDS)
    assert isinstance(end.value.code, str)  # exit status 1

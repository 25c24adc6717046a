. /tmp/dev/tidy/env.sh
tag=$1
ops=$(ls tests/test_ops*.py tests/test_cuda*.py tests/test_timing.py tests/test_bench*.py)
slow=$(ls tests/test_ops_cases.py tests/test_cuda*.py)
rest=$(ls tests/test_*.py | grep -v -E "test_ops|test_cuda|test_timing|test_bench")
nice -n 10 timeout 1500 pytest -p cputimes $slow > /tmp/dev/tidy/$tag-1.log 2>&1
nice -n 10 timeout 1500 pytest -p cputimes $(echo $ops | tr ' ' '\n' | grep -v -E "test_ops_cases|test_cuda") > /tmp/dev/tidy/$tag-2.log 2>&1
nice -n 10 timeout 1500 pytest -p cputimes $rest > /tmp/dev/tidy/$tag-3.log 2>&1

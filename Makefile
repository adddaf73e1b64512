# SPDX-License-Identifier: Apache-2.0
# The front door: every target is one line that can be run by hand.
PYTHON ?= /usr/bin/python3
DEV := build/dev

.PHONY: help all show run-tests lint asan tsan fuzz soak cover bench fmt clean
help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20
all: $(DEV)/build.ninja ## build everything into build/dev
	ninja -C $(DEV)
run-tests: ## all tests (what ./check runs)
	$(PYTHON) tools/check.py
show: all ## the demonstration (what ./demo runs)
	$(PYTHON) tools/demo.py
lint: ## house rules
	tools/tidy.py
	tools/gen/syscalls.py --check
asan: build/asan/build.ninja ## unit tests under ASan and UBSan
	ninja -C build/asan && meson test -C build/asan --suite unit
tsan: build/tsan/build.ninja ## unit tests under TSan
	ninja -C build/tsan && meson test -C build/tsan --suite unit
fuzz: build/fuzz/build.ninja ## build the libFuzzer targets into build/fuzz/fuzz
	ninja -C build/fuzz
soak: all ## long seeded simulations and fuzzing
	$(PYTHON) tools/soak.py
cover: build/cover/build.ninja ## line coverage of the unit tests (needs gcovr)
	ninja -C build/cover && meson test -C build/cover --suite unit && gcovr -r . build/cover -e '.*_test.c' -e '.*_host.c'
bench: all ## side-by-side measurements, printed as tables
	$(PYTHON) bench/run.py
fmt: ## format the C code
	git ls-files '*.c' '*.h' | xargs clang-format -i
clean: ## remove what was built
	rm -rf build

$(DEV)/build.ninja:
	meson setup --werror $(DEV)
build/asan/build.ninja:
	meson setup -Db_sanitize=address,undefined -Db_lundef=false build/asan
build/tsan/build.ninja:
	meson setup -Db_sanitize=thread -Db_lundef=false build/tsan
build/cover/build.ninja:
	meson setup -Db_coverage=true build/cover
build/fuzz/build.ninja:
	CC=clang meson setup -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false build/fuzz

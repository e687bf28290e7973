# SPDX-License-Identifier: GPL-2.0-or-later
# What people type.  The build itself is meson's (meson.build).
#
#   make             build everything in build/
#   make demo        the main job on a real disk image (installs what is missing)
#   make check       all tests, plainly and under ASan and UBSan, some under TSan
#   make check-one T=backup/bitmap-sync    one iotest; F=raw: another format
#   make check-peer  the iotests on the installed QEMU
#   make check-unit, check-iotests, check-asan, check-fuzz    parts of `check`
#   make compare     all command lines and QMP on ours and the installed QEMU, and
#                    thousands made at random (KINDS=650, SEED=1, WALKS=20,
#                    SEQUENCES=300)
#   make check-tsan  tests of what threads share, under ThreadSanitizer
#   make fuzz        a minute of each fuzzer
#   make bench       ours and the installed peer, in turn
#   make lint        layers, headers, style, SPDX lines, documented prototypes
#   make install     into the --prefix given to ./configure
#   make docs        HTML of all documents, in build/html
#   make deb         Debian packages, in deb/
#   make check-deb   the same, tried in a minimal system of their own (as root)

BUILD ?= build
BUILD_ASAN ?= build-asan
BUILD_TSAN ?= build-tsan
BUILD_FUZZ ?= build-fuzz
NINJA_FLAGS ?=

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) $(NINJA_FLAGS)

deps:
	@scripts/install-deps

# What only tests, benchmarks and fuzzers need is not needed to build.
build-deps:
	@scripts/install-deps build

$(BUILD)/build.ninja: | build-deps
	@./configure --build=$(BUILD)

$(BUILD_ASAN)/build.ninja: | deps
	@./configure --build=$(BUILD_ASAN) --enable-sanitizers -- -Doptimization=1 -Dc_args=-g1

asan: $(BUILD_ASAN)/build.ninja
	@ninja -C $(BUILD_ASAN) $(NINJA_FLAGS)

$(BUILD_TSAN)/build.ninja: | deps
	@./configure --build=$(BUILD_TSAN) --enable-tsan -- -Doptimization=1 -Dc_args=-g1

tsan: $(BUILD_TSAN)/build.ninja
	@ninja -C $(BUILD_TSAN) $(NINJA_FLAGS)

check: deps
	@scripts/run-checks $(BUILD) $(BUILD_ASAN) $(BUILD_TSAN)

check-unit: deps all
	@meson test -C $(BUILD) --no-rebuild --print-errorlogs

check-iotests: deps all
	@BUILD_DIR=$(abspath $(BUILD)) tests/qemu-iotests/check \
		$(addprefix -,$(F))

check-one: deps all
	@BUILD_DIR=$(abspath $(BUILD)) tests/qemu-iotests/check \
		$(addprefix -,$(F)) $(T)

check-peer:
	@BUILD_DIR=$(abspath $(BUILD)) tests/qemu-iotests/check --peer \
		$(addprefix -,$(F)) $(T)

check-asan: asan
	@scripts/run-checks --only asan $(BUILD) $(BUILD_ASAN) $(BUILD_TSAN)

check-tsan: tsan
	@scripts/run-checks --only tsan $(BUILD) $(BUILD_ASAN) $(BUILD_TSAN)

KINDS ?= 650
SEQUENCES ?= 300
SEED ?= 1
compare: deps all
	@status=0; cd tests/interop; \
	for name in tools qmp hmp; do \
		python3 $$name-compare.py $(abspath $(BUILD)) || status=1; \
	done; \
	python3 walk-compare.py $(abspath $(BUILD)) $(WALKS) || status=1; \
	python3 generated-qmp.py $(abspath $(BUILD)) $(SEQUENCES) $(SEED) || \
		status=1; \
	python3 generated-compare.py $(abspath $(BUILD)) $(KINDS) $(SEED) || \
		status=1; exit $$status

fuzz: deps
	@tests/fuzz/run $(BUILD_FUZZ)

bench: deps all
	@BUILD_DIR=$(abspath $(BUILD)) tests/bench/run

demo: deps all
	@BUILD_DIR=$(abspath $(BUILD)) scripts/demo

lint:
	@scripts/lint

install: all
	@meson install -C $(BUILD) --no-rebuild

docs: all
	@scripts/install-deps docs
	@scripts/make-docs $(BUILD) $(BUILD)/html

deb:
	@scripts/install-deps package
	@scripts/make-deb deb

check-deb: deb
	@tests/packages/check-deb deb
	@tests/packages/check-service deb
	@tests/packages/check-reproducible deb

clean:
	@rm -rf $(BUILD) $(BUILD_ASAN) $(BUILD_TSAN) $(BUILD_FUZZ)


.PHONY: all deps build-deps docs deb check-deb asan tsan check check-unit \
	check-iotests check-one check-peer \
	check-asan check-tsan compare fuzz bench demo lint install clean

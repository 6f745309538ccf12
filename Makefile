# SPDX-License-Identifier: BSD-2-Clause
#
# Everything is built below $(BUILD); the tree itself stays clean. `make help` lists the targets.
#
#   V=1           show each command
#   SAN=1         add AddressSanitizer and UndefinedBehaviorSanitizer (that is what `make asan` does)
#   SYSROOT=DIR   take headers and libraries from DIR, as `make cross` does for another architecture

BUILD   ?= build
PREFIX  ?= /usr
CC      ?= gcc
CLANG   ?= clang
SYSROOT ?=
BPFTOOL ?= $(shell command -v bpftool || echo /usr/sbin/bpftool)
VERSION := 0.1.0

ifneq ($(V),1)
Q := @
say = @echo "  $(1) $(@:$(BUILD)/%=%)"
endif

SAN ?=
ifeq ($(SAN),1)
# liburcu's iteration macros step back from a null pointer at the end of a table.
SANFLAGS := -fsanitize=address,undefined -fno-sanitize=pointer-overflow -fno-sanitize-recover=all \
            -fno-omit-frame-pointer -Wno-format-truncation
endif

# Where the target's headers and libraries are. They are the host's own if SYSROOT is empty.
MULTIARCH := $(shell $(CC) -print-multiarch)
ifneq ($(SYSROOT),)
SYSROOTFLAGS := --sysroot=$(SYSROOT)
PKG_CONFIG := PKG_CONFIG_SYSROOT_DIR=$(SYSROOT) \
              PKG_CONFIG_LIBDIR=$(SYSROOT)/usr/lib/$(MULTIARCH)/pkgconfig:$(SYSROOT)/usr/share/pkgconfig pkg-config
else
PKG_CONFIG := pkg-config
endif

PACKAGES := libuv libbpf libelf zlib libssl libcrypto sqlite3 jansson yaml-0.1 liburcu-cds \
            liburcu-memb libcurl libsystemd hiredis

# Debian 12 ships llhttp as C sources (node-llhttp), Debian 13 as a library.
LLHTTP_SRC ?= /usr/share/llhttp
ifneq ($(wildcard $(LLHTTP_SRC)/llhttp.c),)
LLHTTP_OBJ    := $(patsubst $(LLHTTP_SRC)/%.c,$(BUILD)/llhttp/%.o,$(wildcard $(LLHTTP_SRC)/*.c))
LLHTTP_CFLAGS := -I/usr/share/include/llhttp
else
PACKAGES      += libllhttp
endif

WARN   := -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes -Werror
CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=gnu17 $(SYSROOTFLAGS) $(CFLAGS) $(SANFLAGS) $(WARN) -fstack-protector-strong -pthread \
              -D_GNU_SOURCE -DTOLLGATE_VERSION='"$(VERSION)"' -DLLHTTP_STRICT_MODE=1 \
              -Iuser -Iinclude -I$(BUILD) $(LLHTTP_CFLAGS) $(shell $(PKG_CONFIG) --cflags $(PACKAGES))
ALL_LDFLAGS := $(SYSROOTFLAGS) $(LDFLAGS) $(SANFLAGS) -pthread -Wl,-z,relro,-z,now
LDLIBS := $(shell $(PKG_CONFIG) --libs $(PACKAGES)) -lm

SRC  := $(filter-out user/main.c,$(sort $(wildcard user/*/*.c user/*/*/*.c)))
OBJ  := $(SRC:%.c=$(BUILD)/%.o)
LIB  := $(BUILD)/libtollgate.a
BIN  := $(BUILD)/tollgate

BPF_SRC  := $(sort $(wildcard bpf/*.bpf.c))
BPF_OBJ  := $(BPF_SRC:%.c=$(BUILD)/%.o)
BPF_SKEL := $(BPF_SRC:%.bpf.c=$(BUILD)/%.skel.h)
TEST_SKEL := $(patsubst %.bpf.c,$(BUILD)/%.skel.h,$(wildcard tests/bpf/*.bpf.c))
LAB_OBJ   := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/lab/*.bpf.c))

MANUALS := $(sort $(wildcard scripts/man/*.[578]))

UNIT_SRC := $(sort $(wildcard tests/unit/*/*_test.c))
UNIT_BIN := $(UNIT_SRC:%.c=$(BUILD)/%)
PACKET_SRC := $(sort $(wildcard tests/bpf/*_test.c))
PACKET_BIN := $(PACKET_SRC:%.c=$(BUILD)/%)
FUZZ_SRC := $(sort $(wildcard tests/fuzz/*_fuzz.c))
FUZZ_BIN := $(FUZZ_SRC:%.c=$(BUILD)/%)
FUZZ_SECONDS ?= 60
BENCH_SRC := $(sort $(wildcard tests/bench/*_bench.c))
BENCH_BIN := $(BENCH_SRC:%.c=$(BUILD)/%)
BENCH_SKEL := $(patsubst %.bpf.c,$(BUILD)/%.skel.h,$(wildcard tests/bench/*.bpf.c))

.PHONY: all test test-one cross test-kernels test-model test-unit test-packets test-lab test-stripe test-docs lint format fuzz bench asan install clean help
.DELETE_ON_ERROR:
.SECONDARY:

all: $(BIN) ## build the agent and the kernel's programs

help: ## list the targets
	@sed -nE 's/^([a-z_.-]+):.*## (.*)/\1\t\2/p' Makefile | awk -F'\t' '{ printf "  %-22s %s\n", $$1, $$2 }'

$(BIN): $(BUILD)/user/main.o $(LIB) $(LLHTTP_OBJ)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(LIB): $(OBJ)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# Redis's scripts, each with common.lua before it, as strings.
LUA     := user/store/redis/lua
LUA_SRC := $(wildcard $(LUA)/*.lua)
REDIS_LUA := $(BUILD)/store/redis/lua.h

$(REDIS_LUA): $(LUA_SRC)
	@mkdir -p $(@D)
	$(Q)for s in $(filter-out common,$(basename $(notdir $(LUA_SRC)))); do \
	  echo "static const char redis_lua_$$s[] ="; \
	  cat $(LUA)/common.lua $(LUA)/$$s.lua | sed 's/\\/&&/g; s/"/\\"/g; s/.*/"&\\n"/'; echo ';'; \
	done > $@

$(BUILD)/user/store/redis/link.o $(BUILD)/fuzz/user/store/redis/link.o: $(REDIS_LUA)

$(BUILD)/user/%.o: user/%.c | $(BPF_SKEL)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Not our code: our warnings do not apply to it.
$(BUILD)/llhttp/%.o: $(LLHTTP_SRC)/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=gnu17 $(SYSROOTFLAGS) $(CFLAGS) $(SANFLAGS) -DLLHTTP_STRICT_MODE=1 $(LLHTTP_CFLAGS) -c -o $@ $<

$(BPF_OBJ) $(TEST_SKEL:.skel.h=.bpf.o) $(BENCH_SKEL:.skel.h=.bpf.o) $(LAB_OBJ): $(BUILD)/%.bpf.o: %.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) -std=gnu17 -O2 -g -target bpf -mcpu=v3 $(SYSROOTFLAGS) -Wall -Wextra -Werror \
	         -Iinclude -Ibpf -I$(SYSROOT)/usr/include/$(MULTIARCH) -MMD -MP -c -o $@ $<

$(BUILD)/%.skel.h: $(BUILD)/%.bpf.o
	$(Q)$(BPFTOOL) gen skeleton $< name $(subst -,_,$(notdir $*))_bpf > $@

$(BUILD)/tests/%_test: tests/%_test.c $(LIB) $(LLHTTP_OBJ) | $(BPF_SKEL) $(TEST_SKEL)
	@mkdir -p $(@D)
	$(call say,TEST)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests -MMD -MP $(ALL_LDFLAGS) -o $@ $< $(LIB) $(LLHTTP_OBJ) $(LDLIBS) -lcmocka

$(BUILD)/tests/bench/%_bench: tests/bench/%_bench.c $(LIB) $(LLHTTP_OBJ) | $(BPF_SKEL) $(BENCH_SKEL)
	@mkdir -p $(@D)
	$(call say,TEST)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests -MMD -MP $(ALL_LDFLAGS) -o $@ $< $(LIB) $(LLHTTP_OBJ) $(LDLIBS) -lcmocka

# Fuzzers have objects of their own, with libFuzzer's instrumentation.
FUZZ_FLAGS := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_OBJ   := $(SRC:%.c=$(BUILD)/fuzz/%.o) \
              $(patsubst $(LLHTTP_SRC)/%.c,$(BUILD)/fuzz/llhttp/%.o,$(wildcard $(LLHTTP_SRC)/*.c))

$(BUILD)/fuzz/user/%.o: user/%.c | $(BPF_SKEL)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(filter-out -O% -W%,$(ALL_CFLAGS)) \
	         -Wno-incompatible-pointer-types -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/llhttp/%.o: $(LLHTTP_SRC)/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -DLLHTTP_STRICT_MODE=1 $(LLHTTP_CFLAGS) -c -o $@ $<

$(BUILD)/tests/fuzz/%_fuzz: tests/fuzz/%_fuzz.c $(FUZZ_OBJ)
	@mkdir -p $(@D)
	$(call say,FUZZ)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer $(filter-out -O% -W%,$(ALL_CFLAGS)) -Itests -MMD -MP -MF $@.d -MT $@ \
	         -o $@ $(filter %.c %.o,$^) $(LDLIBS)

test: ## every test, with what is installed; scripts/test installs what is missing first
	scripts/test --no-setup

test-one: ## one test: T=enforce/gate (unit), T=bpf/answer (packet table), T=lab/test_cli.py (lab)
	@scripts/test-one "$(T)"

test-unit: $(UNIT_BIN) ## unit tests
	@set -e; for t in $(UNIT_BIN); do $$t; done

test-model: ## the protocol of a shifted flow, searched by Spin
	BUILD=$(BUILD) tests/model/run

test-packets: $(PACKET_BIN) ## packet tables through BPF_PROG_RUN (root)
	@set -e; for t in $(PACKET_BIN); do $$t; done

# Without those of the agent's side, which load the programs again and again: slow in a virtual machine.
KERNELS_BIN := $(filter-out %/fastpath_test %/attach_test %/instructions_test,$(PACKET_BIN))
test-kernels: $(KERNELS_BIN) ## packet tables and a connection on Debian 12's own kernel, in a virtual machine
	BUILD=$(BUILD) scripts/test-kernels $(KERNELS_BIN)

.PHONY: lab-programs
lab-programs: $(BIN) $(LAB_OBJ)

test-lab: lab-programs ## real clients in network namespaces (root)
	TOLLGATE=$(abspath $(BIN)) /usr/bin/python3 -m pytest -q -rs tests/lab $(LAB_ARGS)

test-stripe: ## Stripe's own libraries and types against the fake Stripe that tests and the demo use
	scripts/fetch-stripe
	/usr/bin/python3 -m pytest -q -rs tests/stripe

test-docs: $(BIN) ## the manuals against the code
	TOLLGATE=$(abspath $(BIN)) /usr/bin/python3 -m pytest -q -rs tests/docs

lint: ## format, direction of includes, banned functions, manuals, shell scripts
	scripts/lint

format: ## let clang-format rewrite the sources
	clang-format -i $$(git ls-files '*.c' '*.h')

fuzz: $(FUZZ_BIN) ## each fuzzer for FUZZ_SECONDS (60)
	@set -e; for f in $(FUZZ_BIN); do scripts/fuzz $$f $(FUZZ_SECONDS); done

bench: $(BIN) $(BENCH_BIN) ## CPU and latency against nginx and HAProxy, nanoseconds per packet, and billing
	scripts/bench

asan: ## the same with AddressSanitizer and UndefinedBehaviorSanitizer, below build/asan
	$(MAKE) BUILD=build/asan SAN=1 CFLAGS="-O1 -g"

install: all ## into DESTDIR and PREFIX; the configuration only if there is none
	install -D -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/sbin/tollgate
	install -D -m 0644 scripts/tollgate.service $(DESTDIR)/lib/systemd/system/tollgate.service
	install -D -m 0644 scripts/tollgate.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/tollgate.conf
	test -n "$(DESTDIR)" || systemd-sysusers $(PREFIX)/lib/sysusers.d/tollgate.conf
	for page in $(MANUALS); do \
	        install -D -m 0644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/} || exit 1; \
	done
	install -D -m 0644 scripts/tollgate.schema.json $(DESTDIR)$(PREFIX)/share/tollgate/tollgate.schema.json
	install -D -m 0644 scripts/tollgate.yaml $(DESTDIR)$(PREFIX)/share/tollgate/tollgate.yaml
	test -e $(DESTDIR)/etc/tollgate/tollgate.yaml || \
	        install -D -m 0640 scripts/tollgate.yaml $(DESTDIR)/etc/tollgate/tollgate.yaml

cross: ## build the agent and the BPF programs for aarch64, with Debian's compilers
	scripts/cross aarch64

# For clangd and other tools. Made from the flags above, so no other program has to watch the build.
compile_commands.json: Makefile ## the compilation database, for editors
	@mkdir -p $(BUILD)
	$(file >$(BUILD)/compile-command,$(CC) $(ALL_CFLAGS))
	@scripts/compile-commands $(BUILD)/compile-command $(SRC) user/main.c $(UNIT_SRC) $(PACKET_SRC) >$@

clean: ## remove everything that was built below BUILD
	rm -rf $(BUILD)

-include $(wildcard $(BUILD)/user/*.d $(BUILD)/user/*/*.d $(BUILD)/user/*/*/*.d $(BUILD)/bpf/*.d $(BUILD)/tests/*/*.d $(BUILD)/tests/*/*/*.d $(BUILD)/fuzz/user/*/*.d $(BUILD)/fuzz/user/*/*/*.d $(BUILD)/tests/fuzz/*.d)

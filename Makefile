PACKAGES = qemu-system-x86 mmdebstrap squashfs-tools libclang1-14 rpm rpmlint dnf createrepo-c shellcheck e2fsprogs xfsprogs dosfstools mtools fdisk strace zstd binutils python3-venv \
	grub-common btrfs-progs curl ca-certificates openssl openssh-client python3-pyftpdlib
# Servers for the storage by network of check-all.
SERVERS = tgt nfs-ganesha nfs-ganesha-vfs
CARGO = cargo
DESTDIR =
PREFIX = /usr
SHARE = $(DESTDIR)$(PREFIX)/share
UNITS = $(DESTDIR)$(PREFIX)/lib/systemd/system
LIBEXEC = $(DESTDIR)$(PREFIX)/libexec/livemode
# leapp finds them once `livemode-prep actors install` has made a repository that leads there.
ACTORS = $(SHARE)/livemode/leapp
BINARIES = livemode-prep livemode-boot livemode-run
# Where install takes the binaries from.
BUILT = target/release
# A part of check: its name, then a command.
PART = tests/part.sh
CHECK = target/debug/check

.PHONY: setup build demo check check-all faults leapp grubby bench fuzz mutants dist rpm install
setup:
	dpkg -s $(PACKAGES) >/dev/null 2>&1 || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(PACKAGES); }

build: setup
	$(CARGO) build --release

# Builds an image, boots it in QEMU, upgrades a disk, shows the result.
demo: build
	$(CARGO) run --release -p livemode-tests --bin demo

# What must hold before a change is taken: first what takes seconds, then real builds as root and boots in QEMU, of the programs
# as they are shipped, then the packages. Where the time went is shown at the end, and in target/times.json.
check: setup
	rm -f target/times
	$(PART) format $(CARGO) fmt --all --check
	$(PART) shellcheck shellcheck packaging/*.sh tests/*.sh tests/real/*.sh tests/testbed/*.sh tests/bench/*/*.sh livemode-boot/dracut/90livemode/*.sh \
		livemode-prep/image/upgrade livemode-prep/image/profile.sh
	$(PART) clippy $(CARGO) clippy --quiet --workspace --all-targets --all-features -- --deny warnings
	$(PART) build-debug $(CARGO) build --quiet --workspace --all-targets
	LIVEMODE_BINARIES=$(CURDIR)/target/debug $(PART) fast $(CHECK) fast
	$(PART) dist $(MAKE) dist
	$(PART) trees $(CHECK) trees
	LIVEMODE_BINARIES=$(CURDIR)/target/dist $(PART) machines $(CHECK) machines
	$(PART) rpm $(MAKE) rpm
	LIVEMODE_BINARIES=$(CURDIR)/target/dist $(PART) packages $(CHECK) packages
	$(CHECK) times

# The same with the boots that take long.
check-all: build
	dpkg -s $(SERVERS) >/dev/null 2>&1 || RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(SERVERS)
	$(MAKE) check
	$(CARGO) test -p livemode-tests --features all --test atomic --test power_cuts --test watchdog --test options --test storage --test uefi -- --nocapture

# Power cuts at every boundary of an upgrade, then N random faults from SEED: where does each machine rest? Writes target/faults.json.
N = 12
SEED = 1
faults: build
	$(CARGO) run --release -p livemode-tests --bin faults -- $(N) $(SEED)

# Our actors in the real leapp. Both are checkouts that you have: docs/leapp.md says of what.
LEAPP =
LEAPP_REPOSITORY =
leapp:
	@test -n "$(LEAPP)" && test -n "$(LEAPP_REPOSITORY)" || \
		{ echo 'make leapp LEAPP=DIR LEAPP_REPOSITORY=DIR: checkouts of leapp and leapp-repository (docs/leapp.md)' >&2; exit 2; }
	$(MAKE) build
	tests/real/setup.sh "$(LEAPP)" "$(LEAPP_REPOSITORY)" target/leapp
	LIVEMODE_LEAPP=$(CURDIR)/target/leapp $(CARGO) test -p livemode-tests --features leapp --test real_leapp --test leapp -- --nocapture

# The tests of grubby and leapp with the real script, such as SOURCES/grubby-bls of el9's package.
GRUBBY =
grubby:
	@test -f "$(GRUBBY)" || { echo 'make grubby GRUBBY=FILE: the script of the package grubby, of el8 or el9 (docs/leapp.md)' >&2; exit 2; }
	$(MAKE) build
	LIVEMODE_GRUBBY=$(abspath $(GRUBBY)) $(CARGO) test -p livemode-tests --test grubby --test leapp -- --nocapture root_

# Side by side with what users would use instead: all, or these PARTS of it (sizes image initramfs digest build start layers ram). Writes
# target/bench.json, where the rows of other parts stay.
PARTS =
bench: build
	$(CARGO) run --release -p livemode-tests --bin bench -- $(PARTS)

# The parsers against any text, a minute each; what is found becomes a unit test. Stable Rust needs leave for
# libFuzzer's instrumentation.
fuzz:
	command -v cargo-fuzz >/dev/null || $(CARGO) install --locked --version 0.13.2 cargo-fuzz
	for target in config cmdline fstab; do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --sanitizer none $$target -- -max_total_time=60 || exit; \
	done

# One fault at a time in the modules that only decide: does a unit test notice? Nine of ten must be noticed. Which modules, and what is
# excused, stands in .cargo/mutants.toml; the faults and what came of them in target/mutants.out.
mutants:
	command -v cargo-mutants >/dev/null || $(CARGO) install --quiet --locked --version 27.1.0 cargo-mutants
	$(CARGO) run --quiet -p livemode-tests --bin check mutants

# One build for el8 (glibc 2.28, kernel 4.18), el9 and el10, in target/dist. zig, from PyPI, brings the old glibc's symbols, and the
# kernel headers that the bindings of loop devices are made from.
ZIG = target/zig/bin
dist: setup
	test -x $(ZIG)/pip || python3 -m venv target/zig
	test -x $(ZIG)/cargo-zigbuild || $(ZIG)/pip install --quiet ziglang==0.15.1 cargo-zigbuild==0.24.0
	headers=$$(echo $(CURDIR)/target/zig/lib/python3*/site-packages/ziglang/lib/libc/include); \
	CARGO_ZIGBUILD_PYTHON_PATH=$(CURDIR)/$(ZIG)/python3 CPATH=$$headers/any-linux-any:$$headers/x86-linux-any \
		$(ZIG)/cargo-zigbuild zigbuild --quiet --release --target x86_64-unknown-linux-gnu.2.28
	mkdir -p target/dist
	install -m 0755 -t target/dist $(addprefix target/x86_64-unknown-linux-gnu/release/,$(BINARIES))

# The packages, from what dist has made, in target/rpm.
rpm: dist
	packaging/rpm.sh target/dist target/rpm

# Only what is built: no set-up, and no file outside DESTDIR.
install:
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/sbin $(BUILT)/livemode-prep
	install -D -m 0755 -t $(LIBEXEC) $(BUILT)/livemode-boot $(BUILT)/livemode-run
	install -D -m 0755 -t $(SHARE)/livemode/dracut/90livemode livemode-boot/dracut/90livemode/*.sh
	install -D -m 0644 -t $(SHARE)/livemode/systemd livemode-run/systemd/*.service
	install -D -m 0644 -t $(UNITS) livemode-prep/systemd/*.service
	install -d $(UNITS)/multi-user.target.wants
	ln -sf ../livemode-cleanup.service $(UNITS)/multi-user.target.wants/
	install -D -m 0644 -t $(SHARE)/man/man8 livemode-prep/man/*.8 livemode-boot/man/*.8 livemode-run/man/*.8
	install -D -m 0644 -t $(SHARE)/man/man5 livemode-prep/man/livemode.yaml.5
	install -D -m 0644 -t $(SHARE)/man/man7 livemode-prep/man/*.7
	install -D -m 0644 -t $(SHARE)/bash-completion/completions packaging/completions/bash/*
	install -D -m 0644 -t $(SHARE)/zsh/site-functions packaging/completions/zsh/*
	install -D -m 0644 -t $(SHARE)/fish/vendor_completions.d packaging/completions/fish/*
	cd livemode-prep/leapp && find . -name '*.py' -exec install -D -m 0644 {} $(ACTORS)/{} \;
	install -D -m 0644 -t $(SHARE)/licenses/livemode LICENSE
	install -D -m 0644 -t $(SHARE)/doc/livemode README.md CHANGELOG.md
	install -D -m 0644 -t $(SHARE)/doc/livemode-leapp docs/leapp.md

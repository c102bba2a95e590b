PACKAGES = qemu-system-x86 mmdebstrap squashfs-tools libclang1-14 rpm dnf createrepo-c shellcheck e2fsprogs xfsprogs strace zstd \
	btrfs-progs curl ca-certificates openssl openssh-client python3-pyftpdlib
CARGO = cargo
DESTDIR =
PREFIX = /usr
LIBEXEC = $(DESTDIR)$(PREFIX)/libexec/livemode

.PHONY: setup build demo check check-all bench fuzz install
setup:
	dpkg -s $(PACKAGES) >/dev/null 2>&1 || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(PACKAGES); }

build: setup
	$(CARGO) build --release

# Builds an image, boots it in QEMU, upgrades a disk, shows the result.
demo: build
	$(CARGO) run --release -p livemode-tests --bin demo

# What must hold before a change is taken.
check: build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- --deny warnings
	shellcheck tests/testbed/*.sh tests/bench/*/*.sh livemode-boot/dracut/90livemode/*.sh livemode-prep/image/upgrade
	$(CARGO) test --workspace

# The same with the boots that take long.
check-all: build
	$(MAKE) check
	$(CARGO) test -p livemode-tests --features all --test power_cuts --test options

# Side by side with what users would use instead; writes target/bench.json.
bench: build
	$(CARGO) run --release -p livemode-tests --bin bench

# The parsers against any text, a minute each; what is found becomes a unit test. Stable Rust needs leave for
# libFuzzer's instrumentation.
fuzz:
	command -v cargo-fuzz >/dev/null || $(CARGO) install cargo-fuzz
	for target in config cmdline fstab; do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --sanitizer none $$target -- -max_total_time=60 || exit; \
	done

# Only what is built: no set-up, no file outside DESTDIR.
install:
	install -D -m 0755 target/release/livemode-prep $(DESTDIR)$(PREFIX)/sbin/livemode-prep
	install -D -m 0755 -t $(LIBEXEC) target/release/livemode-boot target/release/livemode-run
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/licenses/livemode LICENSE
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/livemode README.md CHANGELOG.md

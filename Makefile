PACKAGES = qemu-system-x86 mmdebstrap squashfs-tools libclang1-14 rpm dnf createrepo-c shellcheck e2fsprogs xfsprogs strace zstd
CARGO = cargo

.PHONY: setup build demo check
setup:
	dpkg -s $(PACKAGES) >/dev/null 2>&1 || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(PACKAGES); }

build: setup
	$(CARGO) build --release

demo: build
	$(CARGO) run --release -p livemode-tests --bin demo

check: build
	$(CARGO) fmt --all --check
	shellcheck tests/testbed/*.sh livemode-boot/dracut/90livemode/*.sh
	$(CARGO) test --workspace

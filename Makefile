# make demo and make test are all the set-up there is: they install what is missing and build what they need. make check
# installs nothing.

SHELL := /bin/bash
export SWIFT ?= swift

# What the programs need to be built, what the demo uses besides, what the tests use besides.
BUILD_PACKAGES := pkg-config:pkg-config /usr/include/openssl/ssl.h:libssl-dev /usr/include/*/openssl/opensslconf.h:libssl-dev \
	/usr/include/zlib.h:zlib1g-dev
DEMO_PACKAGES := openssl:openssl curl:curl jq:jq setpriv:util-linux column:bsdextrautils ps:procps
# A user's systemd does not start without pam_systemd, which brings a bus.
TEST_PACKAGES := openssl:openssl curl:curl socat:socat python3:python3 setpriv:util-linux strace:strace script:bsdutils git:git \
	mandoc:mandoc promtool:prometheus mount:mount ldd:libc-bin \
	/usr/lib/python3/dist-packages/prometheus_client:python3-prometheus-client \
	systemd-analyze:systemd /usr/lib/*/security/pam_systemd.so:libpam-systemd pgrep:procps \
	/usr/lib/*/libnss_systemd.so.2:libnss-systemd \
	openrc-run:openrc? runsvdir:runit zsh:zsh fish:fish \
	lintian:lintian autopkgtest:autopkgtest logrotate:logrotate nginx:nginx-light man:man-db \
	podman:podman runc:runc ss:iproute2 \
	gcc:gcc g++:g++ /usr/include/*/sys/socket.h:libc6-dev go:golang-go \
	/usr/lib/python3/dist-packages/mypy:python3-mypy /usr/lib/python3/dist-packages/build:python3-build \
	/usr/lib/python3/dist-packages/pip:python3-pip /usr/lib/python3/dist-packages/setuptools:python3-setuptools \
	/usr/lib/python3/dist-packages/wheel:python3-wheel
# The services of keybroker-recipes(7).
RECIPE_PACKAGES := apache2:apache2 haproxy:haproxy stunnel4:stunnel4 caddy:caddy lighttpd:lighttpd \
	/usr/lib/lighttpd/mod_openssl.so:lighttpd-mod-openssl hitch:hitch redis-server:redis-server \
	pg_ctlcluster:postgresql mosquitto:mosquitto gunicorn:gunicorn node:nodejs \
	valkey-server:valkey-server?
# What a package is made with besides.
DEB_PACKAGES := dpkg-shlibdeps:dpkg-dev strip:binutils gzip:gzip xz:xz-utils

# The Swift runtime inside, so that an account that cannot see the toolchain can run them.
BINARIES := .build-release/release
# They look for libraries only where the system has them, and all addresses are bound at the start.
RELEASE := --configuration release --static-swift-stdlib --scratch-path .build-release --disable-local-rpath \
	-Xlinker -z -Xlinker now
# The C++ library of the Swift runtime inside too, where there is one: loading it is a fifth of the time that the tool takes
# to start. The linker takes the first libstdc++ that it finds, and this folder has only the static one.
STATIC_LIBRARY := $(lastword $(sort $(wildcard /usr/lib/gcc/*/*/libstdc++.a)))
ifneq ($(STATIC_LIBRARY),)
RELEASE += -Xswiftc -L.build-release/static
endif
# Arrows of Package.swift that an import does not keep to are errors.
STRICT := --explicit-target-dependency-import-check error

# Where `make docs` puts the library's pages.
DOCS := .build/docs

# What the tool is measured beside.
BENCH_PACKAGES := jq:jq python3:python3 sha256sum:coreutils openssl:openssl s6-fdholder-retrieve:s6 nginx:nginx-light setpriv:util-linux \
	gcc:gcc /usr/include/*/sys/socket.h:libc6-dev /usr/include/*/s6/fdholder.h:libs6-dev \
	/usr/include/*/skalibs/skalibs.h:skalibs-dev perf:linux-perf?

# What a bare Debian is made with.
FRESH_PACKAGES := mmdebstrap:mmdebstrap git:git setpriv:util-linux

# What is measured by `make coverage`, and how many percent of its lines must be run.
COVERED := Wire Policy AuditReading
LEAST_COVERED := 95
# For `make fuzz`: how long each target, and which ones if not all.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=
# What `make sanitize` runs with the sanitizer in the tests, what with the sanitizer in the programs, and with which ones.
SANITIZED := BrokerTests KernelTests
SANITIZED_PROGRAMS := EndToEndTests SignerTests
SANITIZERS ?= address thread

# Where `make install` puts it all.
export DESTDIR ?=
export PREFIX ?= /usr
# For which service managers: systemd, openrc, runit.
export INIT ?= systemd

# The suites that need no root and nothing installed but what the programs are built with.
CHECKED := WireTests PolicyTests AuditTests AuditReadingTests BrokerTests KernelTests LaunchingTests HouseTests FuzzTests \
	CrashTests
# The targets that have a process of tests of their own in `make test`: those that wait most.
TEST_GROUPS := 'SystemdTests' 'RecipeTests|FieldTests' 'EndToEndTests'
NOTHING :=
SPACE := $(NOTHING) $(NOTHING)

.PHONY: help check headers build demo demo-serve install uninstall deb docs test crash fuzz coverage sanitize \
	reproducible fresh bench lint format clean

help:
	@echo 'make demo         shows the broker at work, from a key to an HTTPS page, in a temporary folder'
	@echo 'make demo-serve   the same, and leaves it running'
	@echo 'make check        lint and the unit tests: needs no root, installs nothing, takes seconds'
	@echo 'make test         runs all tests (as root for those under real uids)'
	@echo 'make crash        has the log recover from millions of states that a power cut may leave'
	@echo 'make fuzz         looks for inputs that break a parser, FUZZ_SECONDS=60 for each of the FUZZ_TARGETS'
	@echo 'make coverage     measures which lines of $(COVERED) the unit tests run'
	@echo 'make sanitize     runs the daemon under AddressSanitizer and ThreadSanitizer, as root'
	@echo 'make fresh        runs the demo and all tests on a bare Debian in memory, as root (DEBIAN_RELEASE=trixie)'
	@echo 'make reproducible  builds the package twice, under different circumstances, and compares'
	@echo 'make bench        measures what the tool costs, beside programs that do the same work'
	@echo 'make build        builds the programs into $(BINARIES)'
	@echo 'make install      puts them, with units and manual pages, below $$DESTDIR$$PREFIX; make uninstall'
	@echo 'make deb          builds a Debian package of them'
	@echo 'make docs         builds the pages of the Swift library into $(DOCS), which a web server can serve'
	@echo 'make lint, make format, make clean'

check: headers lint
	$(SWIFT) build --build-tests $(STRICT)
	$(SWIFT) test --skip-build --filter '^($(subst $(SPACE),|,$(CHECKED)))\.'

# Says what is missing; installs nothing.
headers:
	@.ci/install-packages --check $(BUILD_PACKAGES)

build:
	@.ci/install-packages $(BUILD_PACKAGES)
	@mkdir -p .build-release/static
	@[ -z '$(STATIC_LIBRARY)' ] || ln -sf '$(STATIC_LIBRARY)' .build-release/static/libstdc++.a
	$(SWIFT) build $(RELEASE)
	@$(MAKE) -s -C Sources/Clients/OpenSSL OUT='$(abspath $(BINARIES))'

demo: build
	@.ci/install-packages $(DEMO_PACKAGES)
	@Tests/Demo/demo $(BINARIES)

demo-serve: build
	@.ci/install-packages $(DEMO_PACKAGES)
	@Tests/Demo/demo --serve $(BINARIES)

install: build
	@systemd/install $(BINARIES)

uninstall:
	@systemd/install --remove $(BINARIES)

deb: build
	@.ci/install-packages $(DEB_PACKAGES)
	@$(PACKAGING) systemd/debian/build $(BINARIES)

# The library as its users see it, with the compiler's own tools: no package is fetched for this.
docs:
	$(SWIFT) build --product KeyBrokerClient
	@.ci/library-pages .build/debug '$(DOCS)'

test: lint deb
	@.ci/install-packages $(BUILD_PACKAGES) $(TEST_PACKAGES) $(RECIPE_PACKAGES)
	$(SWIFT) build --build-tests $(STRICT)
	$(BINARIES)/crash-states
	@.ci/run-tests .build/debug $(TEST_GROUPS)

# A failure says from which seed to begin again.
crash: build
	@KEYBROKER_CRASH_SEED=$${KEYBROKER_CRASH_SEED:-$$(date +%s)} \
		KEYBROKER_CRASH_STATES=$${KEYBROKER_CRASH_STATES:-2000000} $(BINARIES)/crash-states

fuzz:
	@.ci/install-packages $(BUILD_PACKAGES)
	@binaries=$$(Tests/Fuzz/build) && Tests/Fuzz/run '$(FUZZ_SECONDS)' "$$binaries" $(FUZZ_TARGETS)

coverage:
	@.ci/install-packages $(BUILD_PACKAGES) python3:python3
	@Tests/Coverage/coverage $(LEAST_COVERED) '^($(subst $(SPACE),|,$(CHECKED)))\.' $(COVERED)

sanitize:
	@.ci/install-packages $(BUILD_PACKAGES) $(TEST_PACKAGES)
	$(SWIFT) build --build-tests
	@for each in $(SANITIZERS); do Tests/Sanitizers/sanitize $$each \
		'^($(subst $(SPACE),|,$(SANITIZED)))\.' '^($(subst $(SPACE),|,$(SANITIZED_PROGRAMS)))\.' || exit 1; done

reproducible:
	@.ci/install-packages $(BUILD_PACKAGES) $(DEB_PACKAGES) faketime:faketime taskset:util-linux
	@Tests/Reproducible/reproducible

fresh:
	@.ci/install-packages $(FRESH_PACKAGES)
	@Tests/Fresh/fresh-debian sh -c 'make demo && make test'

bench: build
	@.ci/install-packages $(BENCH_PACKAGES)
	Tests/Benchmarks/admin-desk $(BINARIES)
	Tests/Benchmarks/launch $(BINARIES)
	Tests/Benchmarks/watchers $(BINARIES)
	Tests/Benchmarks/rotation $(BINARIES)
	Tests/Benchmarks/load/measure $(BINARIES)
	Tests/Benchmarks/signing/measure $(BINARIES)

lint:
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests

format:
	$(SWIFT) format --in-place --recursive --parallel Package.swift Sources Tests

clean:
	rm -rf .build .build-release .build-fuzz .build-coverage .build-address .build-thread

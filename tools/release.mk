# release.mk - what is given away.  Each lands in a directory of its own, DIST_DIR and DEB_DIR.
#
#   make dist      mbackup-VERSION.tar.gz of the commit that is checked out
#   make pgxn      mbackup-VERSION.zip: the extension for PGXN
#   make sbom      mbackup-VERSION.cdx.json: the libraries of the programs that were built
#   make release   the three, and SHA256SUMS
#   make deb       Debian packages: the program, and the extension for every PostgreSQL that has its headers here

DIST_DIR ?= $(BUILD)/dist
DEB_DIR ?= $(BUILD)/deb
# The time of a release is that of its commit.
release_epoch = SOURCE_DATE_EPOCH="$${SOURCE_DATE_EPOCH:-$$(git -c safe.directory='*' log -1 --format=%ct 2>/dev/null)}"

dist:
	@mkdir -p "$(DIST_DIR)"
	tools/dist "$(DIST_DIR)"

pgxn:
	@mkdir -p "$(DIST_DIR)"
	$(release_epoch) tools/pgxn "$(DIST_DIR)"

sbom: all
	@mkdir -p "$(DIST_DIR)"
	$(release_epoch) tools/sbom $(VERSION) $(BUILD)/mbackup $(BUILD)/mbackup-wal-get >"$(DIST_DIR)/sbom.new"
	mv "$(DIST_DIR)/sbom.new" "$(DIST_DIR)/mbackup-$(VERSION).cdx.json"

release: dist pgxn sbom
	cd "$(DIST_DIR)" && LC_ALL=C sha256sum mbackup-$(VERSION).* >SHA256SUMS && cat SHA256SUMS

# dpkg-buildpackage builds in place and leaves its results beside: in a copy.  What this make was told is not for the one
# that it starts.
deb:
	rm -rf "$(DEB_DIR)"
	mkdir -p "$(DEB_DIR)/mbackup-$(VERSION)"
	tools/source-files | tar -c -T - | tar -x -C "$(DEB_DIR)/mbackup-$(VERSION)"
	cd "$(DEB_DIR)/mbackup-$(VERSION)" && unset MAKEFLAGS MFLAGS MAKELEVEL BUILD && \
		export PG_SUPPORTED_VERSIONS="$$(ls -d /usr/lib/postgresql/*/bin/pg_config | cut -d/ -f5 | sort -V | tr '\n' ' ')" && \
		pg_buildext updatecontrol && dpkg-buildpackage -us -uc -b $(DEB_FLAGS)
	rm -rf "$(DEB_DIR)/mbackup-$(VERSION)"
	ls -l "$(DEB_DIR)"

.PHONY: dist pgxn sbom release deb

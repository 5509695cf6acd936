# install.mk - make install, make uninstall, by the names of the GNU Coding Standards.
#
#   make install prefix=/usr DESTDIR=/tmp/stage      PREFIX is taken for prefix
#
# Parts that can be left out:
#   WITH_EXTENSION=auto|yes|no   the extension, into the PostgreSQL of PG_CONFIG; auto: when there is one
#   WITH_SYSTEMD=yes|no          units and the tmpfiles.d snippet
#   WITH_DEV=yes|no              libmbackup.a, its headers and mbackup.pc
#   WITH_DOCS=yes|no             the pages of docs/
# The program describes itself: man pages are asked of it, and installed with completions where there are some.  Nothing is put below /etc: what the
# administrator writes there is made by systemd-tmpfiles (deploy/systemd/mbackup.tmpfiles) or by hand.

PREFIX ?= /usr/local
prefix ?= $(PREFIX)
exec_prefix ?= $(prefix)
bindir ?= $(exec_prefix)/bin
libdir ?= $(exec_prefix)/lib
includedir ?= $(prefix)/include
datarootdir ?= $(prefix)/share
datadir ?= $(datarootdir)
mandir ?= $(datarootdir)/man
docdir ?= $(datarootdir)/doc/mbackup
pkgconfigdir ?= $(libdir)/pkgconfig
unitdir ?= $(or $(UNIT_DIR),$(prefix)/lib/systemd/system)
tmpfilesdir ?= $(prefix)/lib/tmpfiles.d
bashcompdir ?= $(datadir)/bash-completion/completions
zshcompdir ?= $(datadir)/zsh/site-functions
fishcompdir ?= $(datadir)/fish/vendor_completions.d

WITH_EXTENSION ?= auto
WITH_SYSTEMD ?= yes
WITH_DEV ?= yes
WITH_DOCS ?= yes

# Where what is made for one installation is put on the way.
STAGE ?= $(BUILD)/install
EXTENSION_BUILD ?= $(BUILD)/extension

INSTALL ?= install
INSTALL_PROGRAM ?= $(INSTALL) -m 755
INSTALL_DATA ?= $(INSTALL) -m 644

# Units and the .pc file take no spaces, and neither does make.  (DESTDIR may have them.)
install_dirs = $(foreach d,prefix exec_prefix bindir libdir includedir datadir mandir docdir pkgconfigdir unitdir tmpfilesdir,$(if $(filter-out 0 1,$(words $($(d)))),$(d)))
install_check = $(if $(strip $(install_dirs)),$(error a directory to install into has a space in its name ($(firstword $(install_dirs))): choose another one, or stage by DESTDIR, which may have spaces))
wants = $(filter-out no,$(WITH_$(1)))

extension_there = $(wildcard $(shell $(PG_CONFIG) --sharedir 2>/dev/null)/extension)
install_extension = $(if $(filter yes,$(WITH_EXTENSION))$(and $(filter auto,$(WITH_EXTENSION)),$(extension_there)),extension)
extension_make = $(MAKE) -C $(EXTENSION_BUILD) SQL=$(CURDIR)/sql PG_CONFIG=$(PG_CONFIG) DESTDIR="$(DESTDIR)"

# What goes where: a line for each file, "mode from to", so that uninstall knows what install did.  Those made by sed
# come from $(STAGE).
dev_headers = $(sort $(filter-out %_private.h,$(wildcard core/base/*.h core/repo/*.h core/engine/*.h)))
unit_files = $(sort $(wildcard deploy/systemd/*.service deploy/systemd/*.timer))
# (By the shell: make remembers what was in a directory before it was filled.)
man_files = $(shell ls $(BUILD)/man/*.[1-8] 2>/dev/null)
doc_files = $(sort $(wildcard docs/*.md docs/*/*.md docs/images/*.*)) CHANGELOG.md LICENSE
to = $(foreach f,$(2),$(1):$(f):$(3)/$(notdir $(f)))
install_files = \
	$(call to,755,$(BUILD)/mbackup $(BUILD)/mbackup-wal-get,$(bindir)) \
	644:deploy/prometheus/mbackup.rules.yml:$(datadir)/mbackup/mbackup.rules.yml \
	644:deploy/grafana/mbackup.json:$(datadir)/mbackup/grafana.json \
	$(foreach n,1 2 3 4 5 6 7 8,$(call to,644,$(filter %.$(n),$(man_files)),$(mandir)/man$(n))) \
	$(if $(wildcard cli/completion/mbackup.bash),644:cli/completion/mbackup.bash:$(bashcompdir)/mbackup) \
	$(if $(wildcard cli/completion/mbackup.zsh),644:cli/completion/mbackup.zsh:$(zshcompdir)/_mbackup) \
	$(if $(wildcard cli/completion/mbackup.fish),644:cli/completion/mbackup.fish:$(fishcompdir)/mbackup.fish) \
	$(if $(call wants,SYSTEMD), \
		$(foreach f,$(unit_files),644:$(STAGE)/$(notdir $(f)):$(unitdir)/$(notdir $(f))) \
		644:deploy/systemd/common.conf:$(unitdir)/mbackup.service.d/10-common.conf \
		644:deploy/systemd/common.conf:$(unitdir)/mbackup-.service.d/10-common.conf \
		644:deploy/systemd/mbackup.tmpfiles:$(tmpfilesdir)/mbackup.conf) \
	$(if $(call wants,DOCS),$(foreach f,$(doc_files),644:$(f):$(docdir)/$(patsubst docs/%,%,$(f)))) \
	$(if $(call wants,DEV),644:$(BUILD)/libmbackup.a:$(libdir)/libmbackup.a \
		644:$(STAGE)/mbackup.pc:$(pkgconfigdir)/mbackup.pc \
		$(foreach f,$(dev_headers),644:$(f):$(includedir)/mbackup/$(f)))

# Where there is a manual to print.  (A program with sanitizers prints it too.)
man_made = $(if $(wildcard cli/manual.txt),$(BUILD)/man/.made)
all: $(man_made)
$(BUILD)/man/.made: export ASAN_OPTIONS = detect_leaks=0
$(BUILD)/man/.made: $(BUILD)/mbackup
	@echo "  MAN   $(@D)"
	@rm -rf $(@D) && mkdir -p $(@D)
	@$(BUILD)/mbackup help --format man >$(@D)/mbackup.1
	@$(BUILD)/mbackup help mbackup.conf --format man >$(@D)/mbackup.conf.5
	@for command in $$($(BUILD)/mbackup completion answer -- "" | sed '1d; s/\t.*//'); do \
		$(BUILD)/mbackup help $$command --format man >$(@D)/mbackup-$$command.1 || exit 1; \
	done
	@touch $@

install: all $(install_extension)
	$(install_check)
	@mkdir -p $(STAGE)
	@for unit in $(unit_files); do \
		sed 's|@bindir@|$(bindir)|; s|@docdir@|$(docdir)|' $$unit >$(STAGE)/$${unit##*/} || exit 1; \
	done
	@sed 's|@prefix@|$(prefix)|; s|@libdir@|$(libdir)|; s|@includedir@|$(includedir)|; s|@VERSION@|$(VERSION)|; s|@REQUIRES@|$(PC_CORE)|' \
		deploy/mbackup.pc.in >$(STAGE)/mbackup.pc
	@set -e; for item in $(install_files); do \
		mode=$${item%%:*}; item=$${item#*:}; from=$${item%%:*}; to="$(DESTDIR)"$${item#*:}; \
		echo "  INSTALL  $$to"; \
		$(INSTALL) -d "$${to%/*}"; \
		if [ $$mode = 755 ]; then $(INSTALL_PROGRAM) $$from "$$to"; else $(INSTALL_DATA) $$from "$$to"; fi; \
	done
	$(if $(install_extension),$(extension_make) install)

# In a copy, because PGXS builds where its Makefile lies.
extension:
	@mkdir -p $(EXTENSION_BUILD)
	@cp -p pg_extension/* $(EXTENSION_BUILD)/
	$(MAKE) -C $(EXTENSION_BUILD) SQL=$(CURDIR)/sql PG_CONFIG=$(PG_CONFIG)

# Files first, then the directories that are ours and empty.  WITH_... as for install.
uninstall: $(man_made) $(install_extension)
	$(install_check)
	@for item in $(install_files); do rm -f "$(DESTDIR)"$${item##*:}; done
	@find "$(DESTDIR)$(includedir)/mbackup" "$(DESTDIR)$(docdir)" "$(DESTDIR)$(datadir)/mbackup" \
		"$(DESTDIR)$(unitdir)/mbackup.service.d" "$(DESTDIR)$(unitdir)/mbackup-.service.d" \
		-depth -type d -empty -delete 2>/dev/null || true
	$(if $(install_extension),$(extension_make) uninstall)

.PHONY: extension install uninstall

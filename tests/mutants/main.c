/*
 * main.c - see mutants.h.
 *
 *     mutants [-k KEY-FILE] [-s SEED] [-b BITS [-o SKIPPED]] [-a BITS] [-n MUTANTS] [-d FILES] [-v] [-w COUNT] REPOSITORY SCRATCH
 *
 * Prints TAP.  SCRATCH is an empty directory.
 *
 *     -b   so many single bits: every bit of whole blobs, the smallest of each kind first
 *     -o   all but the first so many of them: several processes can share them
 *     -a   so many single bits of blobs and places by chance
 *     -n   so many structural mutants of bytes, names and documents
 *     -d   so many mutants of the files of a directory
 *     -v   show every mutant that verify did not find
 *     -w   try none, but write so many structural mutants to SCRATCH/1, 2, ... and what they are to SCRATCH/1.what
 *
 * Which mutant was at work is printed when the program is killed by what it tests.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "tests/mutants/mutants.h"

#define HANG_SECONDS 30
#define SHOWN 10

static struct mutant mutant; /* of now, for the handler */
static unsigned tests, failed;
static bool is_verbose;
static unsigned long skipped_bits;

static const char *const outcome_names[MUTANT_OUTCOMES] = {"found", "refused", "harmless",
														   "restored otherwise", "written outside"};

static void
die(int signal_number)
{
	static const char text[] = "\n# killed while this was tried: ";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) > 0 &&
		write(STDERR_FILENO, mutant.what, strlen(mutant.what)) > 0)
		(void) !write(STDERR_FILENO, "\n", 1);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static void
result(bool good, const char *fmt, ...)
{
	va_list args;

	printf("%s %u - ", good ? "ok" : "not ok", ++tests);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	failed += !good;
}

/* What came of all mutants of a sort. */
struct tally
{
	unsigned long counts[MUTANT_OUTCOMES];
	unsigned long total;
	unsigned long wrong;
};

static void
count(struct tally *tally, const struct mutant_judge *judge, enum mutant_outcome outcome,
	  bool is_wrong)
{
	tally->counts[outcome]++;
	tally->total++;
	if ((is_wrong && tally->wrong++ < SHOWN) || (is_verbose && outcome != MUTANT_FOUND))
		printf("# %s: %s (%s)\n", mutant.what, outcome_names[outcome], judge->detail);
}

static void
report(const struct tally *tally, const char *what)
{
	char text[256] = "";
	size_t i;

	for (i = 0; i < MUTANT_OUTCOMES; i++)
		if (tally->counts[i])
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%lu %s",
					 text[0] ? ", " : "", tally->counts[i], outcome_names[i]);
	result(tally->total > 0 && tally->wrong == 0, "%lu %s: %s", tally->total, what, text);
}

/* -- bits -------------------------------------------------------------------------------------- */

struct order
{
	const struct mutant_blob *blob;
	uint64_t key;
};

static int
by_key(const void *a, const void *b)
{
	uint64_t x = ((const struct order *) a)->key, y = ((const struct order *) b)->key;

	return (x > y) - (x < y);
}

/* Flip this bit, ask, and flip it back. */
static void
flip(struct mutant_judge *judge, struct mutant_image *image, const struct mutant_blob *blob,
	 unsigned char *bytes, size_t bit, struct tally *tally)
{
	enum mutant_outcome outcome;

	bytes[bit / 8] ^= (unsigned char) (1u << bit % 8);
	image_copy(mutant.image, image);
	image_put(mutant.image, blob->name, bytes, blob->len);
	snprintf(mutant.what, sizeof(mutant.what), "%s byte %zu bit %zu", blob->name, bit / 8, bit % 8);
	alarm(HANG_SECONDS);
	outcome = judge_image(judge, mutant.image);
	bytes[bit / 8] ^= (unsigned char) (1u << bit % 8);
	/* Verify finds every one: harmless is not good enough. */
	count(tally, judge, outcome, outcome != MUTANT_FOUND);
}

/* Whole blobs, every bit, until `bits` are done: the small ones of each kind first. */
static void
flip_all(struct mutant_judge *judge, struct mutant_image *image, unsigned long bits)
{
	struct order *orders = mb_calloc(image->count, sizeof(*orders));
	unsigned long done = 0, blobs = 0;
	struct tally tally = {0};
	size_t i, seen[16] = {0}, bit;

	for (i = 0; i < image->count; i++)
		orders[i] = (struct order){&image->items[i], image->items[i].len};
	qsort(orders, image->count, sizeof(*orders), by_key);
	/* The n-th smallest of its kind comes before the n+1-th of any. */
	for (i = 0; i < image->count; i++)
		orders[i].key |= (uint64_t) seen[mutant_role(orders[i].blob->name) % 16]++ << 32;
	qsort(orders, image->count, sizeof(*orders), by_key);
	for (i = 0; i < image->count && done < bits; i++)
	{
		const struct mutant_blob *blob = orders[i].blob;
		unsigned char *bytes = mb_malloc(blob->len + 1);

		memcpy(bytes, blob->data, blob->len);
		for (bit = 0; bit < blob->len * 8 && done < bits; bit++, done++)
			if (done >= skipped_bits)
				flip(judge, image, blob, bytes, bit, &tally);
		blobs += bit == blob->len * 8;
		free(bytes);
	}
	printf("# %lu blobs bit by bit, from the first to the last\n", blobs);
	report(&tally, "single bits");
	free(orders);
}

/* The same number anywhere. */
static void
flip_some(struct mutant_judge *judge, struct mutant_image *image, unsigned long bits)
{
	struct tally tally = {0};
	unsigned long i;

	for (i = 0; i < bits; i++)
	{
		const struct mutant_blob *blob;
		unsigned char *bytes;

		image_copy(mutant.image, image);
		blob = image_find(image, mutant_victim(&mutant)->name);
		if (blob->len == 0)
			continue;
		bytes = mb_malloc(blob->len);
		memcpy(bytes, blob->data, blob->len);
		flip(judge, image, blob, bytes, mutant_random(&mutant, blob->len * 8), &tally);
		free(bytes);
	}
	report(&tally, "single bits, anywhere");
}

/* -- structure --------------------------------------------------------------------------------- */

static void
make_mutant(const struct mutant_image *image, bool (*mutate)(struct mutant *))
{
	do
	{
		mb_arena_release(&mutant.arena);
		image_copy(mutant.image, image);
		mutant.is_sealed = false;
		mutant.what[0] = '\0';
	} while (!mutate(&mutant));
}

static void
try_mutants(struct mutant_judge *judge, const struct mutant_image *image,
			unsigned long count_wanted, bool (*mutate)(struct mutant *), bool fix, const char *what)
{
	bool is_forged = judge->suite == MB_SUITE_NONE && (fix || mutate == mutate_document);
	struct tally tally = {0};
	unsigned long i;

	mutant.fix = fix;
	for (i = 0; i < count_wanted; i++)
	{
		enum mutant_outcome outcome;

		make_mutant(image, mutate);
		alarm(HANG_SECONDS);
		outcome = judge_image(judge, mutant.image);
		/* Who writes an unencrypted repository writes the truth: no more than that is believed. */
		count(&tally, judge, outcome,
			  outcome == MUTANT_OUTSIDE || (outcome == MUTANT_BELIEVED && !is_forged));
	}
	report(&tally, what);
}

/* -- on disk ----------------------------------------------------------------------------------- */

static void
must_write(const char *path, const struct mutant_blob *blob)
{
	char *dir = mb_strndup(path, strlen(path) - strlen(strrchr(path, '/')));
	struct mb_error err;
	FILE *file;

	if (mb_mkdirs(dir, 0700, &err) || (file = fopen(path, "w")) == NULL ||
		fwrite(blob->data, 1, blob->len, file) != blob->len || fclose(file) != 0)
		exit(2);
	free(dir);
}

static void
write_image(const struct mutant_image *image, const char *directory)
{
	size_t i;

	for (i = 0; i < image->count; i++)
	{
		char *path = mb_path_join(directory, image->items[i].name);

		must_write(path, &image->items[i]);
		free(path);
	}
}

static void
try_disk(struct mutant_judge *judge, const struct mutant_image *image, unsigned long count_wanted)
{
	char *disk = mb_path_join(judge->scratch, "disk"), *repo = mb_path_join(disk, "repo");
	char *outside = mb_path_join(disk, "outside");
	struct tally tally = {0};
	struct mb_error err;
	unsigned long i;

	for (i = 0; i < count_wanted;)
	{
		enum mutant_outcome outcome;

		if (mb_rmtree(disk, &err))
			exit(2);
		write_image(image, repo);
		image_copy(mutant.image, image);
		if (!mutate_disk(&mutant, repo, outside))
			continue;
		i++;
		alarm(HANG_SECONDS);
		outcome = judge_directory(judge, repo);
		count(&tally, judge, outcome, outcome == MUTANT_BELIEVED || outcome == MUTANT_OUTSIDE);
	}
	report(&tally, "files on disk that are links, of another type, strangers");
	if (mb_rmtree(disk, &err))
		exit(2);
	free(outside);
	free(repo);
	free(disk);
}

/* No name is the directory of another. */
static bool
can_be_written(const struct mutant_image *image)
{
	size_t i, j;

	for (i = 0; i < image->count; i++)
		for (j = i + 1; j < image->count; j++)
			if (mb_starts_with(image->items[j].name, image->items[i].name) &&
				image->items[j].name[strlen(image->items[i].name)] == '/')
				return false;
	return true;
}

/* For somebody else to judge: the command line. */
static void
write_mutants(const struct mutant_judge *judge, const struct mutant_image *image,
			  unsigned long count_wanted)
{
	unsigned long i;

	for (i = 1; i <= count_wanted; i++)
	{
		char *directory = mb_asprintf("%s/%lu", judge->scratch, i);
		char *what = mb_asprintf("%s.what", directory);
		struct mutant_blob note = {.data = (unsigned char *) mutant.what};

		do
			make_mutant(image, i % 2 ? mutate_bytes : mutate_names);
		while (!can_be_written(mutant.image));
		note.len = strlen(mutant.what);
		write_image(mutant.image, directory);
		must_write(what, &note);
		free(what);
		free(directory);
	}
}

/* How many of each. */
struct wanted
{
	const char *key_file;
	unsigned long bits;
	unsigned long anywhere;
	unsigned long structural;
	unsigned long disk;
	unsigned long written;
};

static bool
read_options(int argc, char **argv, struct wanted *wanted)
{
	int opt;

	while ((opt = getopt(argc, argv, "k:s:b:o:a:n:d:vw:")) != -1)
		if (opt == 'k')
			wanted->key_file = optarg;
		else if (opt == 's')
			mutant.random = strtoull(optarg, NULL, 10) * 2 + 1;
		else if (opt == 'b')
			wanted->bits = strtoul(optarg, NULL, 10);
		else if (opt == 'o')
			skipped_bits = strtoul(optarg, NULL, 10);
		else if (opt == 'a')
			wanted->anywhere = strtoul(optarg, NULL, 10);
		else if (opt == 'n')
			wanted->structural = strtoul(optarg, NULL, 10);
		else if (opt == 'd')
			wanted->disk = strtoul(optarg, NULL, 10);
		else if (opt == 'v')
			is_verbose = true;
		else if (opt == 'w')
			wanted->written = strtoul(optarg, NULL, 10);
		else
			return false;
	return argc - optind == 2;
}

static void
try_structural(struct mutant_judge *judge, const struct mutant_image *image, unsigned long count)
{
	try_mutants(judge, image, count * 3 / 10, mutate_bytes, false,
				"blobs cut, grown, mangled, shuffled");
	try_mutants(judge, image, count / 10, mutate_bytes, true, "the same, checksums made to fit");
	try_mutants(judge, image, count * 2 / 10, mutate_names, false,
				"blobs lost, emptied, renamed, exchanged");
	try_mutants(judge, image, count / 10, mutate_names, true, "the same, checksums made to fit");
	try_mutants(judge, image, count * 3 / 10, mutate_document, true,
				"documents changed, checksums made to fit");
}

int
main(int argc, char **argv)
{
	static const int signals[] = {SIGALRM, SIGABRT, SIGSEGV, SIGBUS, SIGFPE};
	struct wanted wanted = {0};
	struct mutant_image image = {0}, copy = {0};
	struct mutant_judge judge;
	struct mb_arena arena = {0};
	size_t i;

	mutant.random = 1;
	if (!read_options(argc, argv, &wanted))
		return 2;
	umask(077);
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], die);
	image_load(&image, &arena, argv[optind]);
	judge_open(&judge, &image, wanted.key_file, argv[optind + 1]);
	mutant.judge = &judge;
	mutant.image = &copy;
	printf("# %zu blobs, %zu moments\n", image.count, json_array_size(judge.moments));
	if (wanted.bits)
		flip_all(&judge, &image, wanted.bits);
	if (wanted.anywhere)
		flip_some(&judge, &image, wanted.anywhere);
	if (wanted.structural)
		try_structural(&judge, &image, wanted.structural);
	if (wanted.written)
		write_mutants(&judge, &image, wanted.written);
	if (wanted.disk)
		try_disk(&judge, &image, wanted.disk);
	alarm(0);
	printf("# %u restores\n1..%u\n", judge.restores, tests);
	mb_arena_release(&mutant.arena);
	image_release(&copy);
	image_release(&image);
	mb_arena_release(&arena);
	judge_close(&judge);
	return failed > 0;
}

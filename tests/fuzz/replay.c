/*
 * replay.c - a main for fuzz targets without libFuzzer: runs every file of the
 * directories named on the command line, then N mutants of them (-n N, -s SEED; no more than -t
 * SECONDS long), through LLVMFuzzerTestOneInput.  Built with the sanitizers, an error ends the process.  With -v
 * a target that can say what it makes of an input prints a line for each file.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void mb_fuzz_describe(const uint8_t *data, size_t size) __attribute__((weak));

#define MAX_SEEDS 4096
#define MAX_SEED_BYTES (1u << 20)

static struct mb_buf seeds[MAX_SEEDS];
static char *names[MAX_SEEDS];
static size_t seed_count;

static void
load_seeds(const char *dir_name)
{
	DIR *dir = opendir(dir_name);
	struct dirent *entry;
	struct mb_error err;

	if (!dir)
		return;
	while ((entry = readdir(dir)) != NULL && seed_count < MAX_SEEDS)
	{
		char *path = mb_path_join(dir_name, entry->d_name);

		mb_error_clear(&err);
		if (entry->d_name[0] != '.' &&
			mb_file_read(&seeds[seed_count], path, MAX_SEED_BYTES, &err) == MB_OK)
			names[seed_count++] = mb_strdup(entry->d_name);
		free(path);
	}
	closedir(dir);
}

/* xorshift64*: repeatable by its seed, unlike rand(). */
static uint64_t
next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 2685821657736338717ULL;
}

/* One to four changes: flip a bit, set a byte, cut, repeat a part, or join with another seed. */
static void
mutate(struct mb_buf *buf, uint64_t *state)
{
	static const unsigned char special[] = {0, 1, 0x7F, 0x80, 0xFE, 0xFF, '\n', '*', '$'};
	int changes = 1 + (int) (next_random(state) % 4);

	while (changes-- > 0)
	{
		size_t at = buf->len ? next_random(state) % buf->len : 0;
		const struct mb_buf *other = &seeds[next_random(state) % seed_count];

		switch (next_random(state) % 6)
		{
			case 0:
				if (buf->len)
					buf->data[at] ^= (unsigned char) (1u << (next_random(state) % 8));
				break;
			case 1:
				if (buf->len)
					buf->data[at] = special[next_random(state) % sizeof(special)];
				break;
			case 2:
				buf->len = at;
				break;
			case 3:
				if (buf->len < MAX_SEED_BYTES)
				{
					unsigned char *copy = mb_malloc(buf->len - at);

					memcpy(copy, buf->data + at, buf->len - at);
					mb_buf_put(buf, copy, buf->len - at);
					free(copy);
				}
				break;
			case 4:
				buf->len = at;
				if (other->len)
					mb_buf_put(buf, other->data + at % other->len, other->len - at % other->len);
				break;
			default:
				if (buf->len >= at + 4)
					mb_set_u32(buf->data + at, (uint32_t) next_random(state));
		}
	}
}

int
main(int argc, char **argv)
{
	unsigned long mutants = 0, i;
	uint64_t state = 1;
	int64_t until_ms = INT64_MAX;
	bool describe = false;
	int opt;

	while ((opt = getopt(argc, argv, "n:s:t:v")) != -1)
		if (opt == 'v')
			describe = mb_fuzz_describe != NULL;
		else if (opt == 'n')
			mutants = strtoul(optarg, NULL, 10);
		else if (opt == 't')
			until_ms = mb_monotonic_ms() + 1000 * strtol(optarg, NULL, 10);
		else if (opt == 's')
			state = strtoull(optarg, NULL, 10) | 1;
		else
			return 2;
	for (; optind < argc; optind++)
		load_seeds(argv[optind]);
	if (seed_count == 0)
		mb_buf_put_str(&seeds[seed_count++], "mbackup");
	for (i = 0; i < seed_count; i++)
	{
		LLVMFuzzerTestOneInput(seeds[i].data, seeds[i].len);
		if (describe)
		{
			printf("%s ", names[i] ? names[i] : "-");
			mb_fuzz_describe(seeds[i].data, seeds[i].len);
		}
	}
	for (i = 0; i < mutants && mb_monotonic_ms() < until_ms; i++)
	{
		struct mb_buf buf = {0};

		mb_buf_put(&buf, seeds[i % seed_count].data, seeds[i % seed_count].len);
		mutate(&buf, &state);
		mb_buf_reserve(&buf, 1);
		LLVMFuzzerTestOneInput(buf.data, buf.len);
		mb_buf_release(&buf);
	}
	printf("%zu seeds, %lu mutants\n", seed_count, i);
	for (i = 0; i < seed_count; i++)
	{
		mb_buf_release(&seeds[i]);
		free(names[i]);
	}
	return 0;
}

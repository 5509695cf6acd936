/*
 * key_set.h - has this key been seen?  A set of fingerprints of names.
 *
 * SCAN gives a key twice when the server's table grows or shrinks meanwhile, and a loader
 * refuses an RDB with a key in it twice.  Names themselves would take as much memory as they
 * have there; a fingerprint takes 8 bytes in a table that is at most 5/6 full: 10 to 13 bytes
 * a key, whatever its name (1.2 GB for 100 million keys).  It is given back with the database.
 *
 * A key whose fingerprint is that of another one would be left out, so 64 bits are not enough
 * (one in 4,000 backups of 100 million keys).  A part of the set is chosen by further bits, one
 * part for some 1,000 keys, and a key is compared within its part only: with 100 million keys
 * one backup in 300 million.  The seeds are drawn anew each time, so that no name can be made to
 * collide.
 */
#ifndef MB_REDIS_KEY_SET_H
#define MB_REDIS_KEY_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mb_key_set;

/* expected: about how many keys; more are fine, and compared in larger parts. */
struct mb_key_set *mb_key_set_new(uint64_t expected);
void mb_key_set_free(struct mb_key_set *set); /* NULL does nothing */
/* False when it was there already. */
bool mb_key_set_add(struct mb_key_set *set, const void *name, size_t len);
/* What its tables take. */
size_t mb_key_set_bytes(const struct mb_key_set *set);

#endif

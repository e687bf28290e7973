/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stored bitmaps may say after a loss of power or a kill.  Between quiet
 * moments, of which there is a sample, there are guest requests, commands and
 * jobs: a window.  For a moment in a window, and a bitmap:
 *
 *   it is there and consistent     if the command that added it was answered
 *   it has what memory had         at the sample before (if the window may
 *                                  remove bits: at both samples)
 *   it has what has changed        since that sample, on the disk
 *   it has each write              since it records for certain
 *   it has lost all or nothing     of what a command or a job removes
 *   it has nothing else            but what memory had at both samples, and all
 *                                  of the regions that were open or opened
 *
 * Where it is clean the disk is that of the moment when it began, if that is
 * known.  At a quiet moment the image, killed, has exactly the bits in memory
 * and the open regions.
 */
#ifndef CRASH_BITMAPS_H
#define CRASH_BITMAPS_H

#include "crash.h"

#include "block/dirty-bitmap.h"

#define CRASH_BITMAPS 8

/* A bitmap, from the command that added it on. */
typedef struct TestBitmap {
    char *name;
    uint64_t granularity;
    BitmapSafety safety;
    CrashTime added_start, added;     /* @added: when it was answered */
    CrashTime removed_start, removed; /* CRASH_NEVER */
    bool recording;
    GArray *spans;     /* of TestSpan */
    GArray *baselines; /* of TestBaseline */
} TestBitmap;

/* It records all the time, and no bit is removed. */
typedef struct TestSpan {
    CrashTime from, to; /* CRASH_NEVER */
} TestSpan;

/* While it is clean somewhere, the disk has that there. */
typedef struct TestBaseline {
    CrashTime from, to; /* CRASH_NEVER */
    uint8_t *values;    /* one each unit */
} TestBaseline;

/* A bitmap at a quiet moment; a byte each sector of the disk. */
typedef struct TestBits {
    TestBitmap *bitmap;
    BitmapSafety safety;
    bool recording;
    uint8_t *set; /* in memory: 1; in a region that is open: 2 */
} TestBits;

/* A quiet moment, and the window after it. */
typedef struct TestSample {
    CrashTime at;
    int64_t size;
    uint8_t *values; /* of the disk, one each unit */
    GArray *bits;    /* of TestBits */
    bool readonly;
    /* of the window */
    bool any_over;      /* all may be dirty */
    bool removes;       /* bitmaps may be missing for a while */
    int64_t least_size; /* of the disk */
    CrashTime loose_from;   /* from then on bits of @loose may be removed */
    const TestBitmap *loose; /* ... of this one only; NULL: of none */
    const TestBitmap *heir;  /* what @loose loses this one gets, or NULL */
} TestSample;

/* The disks at a moment at which the process is killed. */
typedef struct TestKill {
    CrashTime at;
    GByteArray *disks[CRASH_DISKS];
} TestKill;

typedef struct TestBitmaps {
    CrashRun *run;
    int64_t capacity;   /* of the disk */
    GPtrArray *bitmaps; /* of TestBitmap *, also those removed */
    GPtrArray *samples; /* of TestSample * */
    GPtrArray *kills;   /* of TestKill * */
    unsigned serial;
    bool long_name;     /* no room in the header */
    bool may_miss_note; /* with it, in small clusters */
    uint64_t demanded;  /* bitmaps that had to be consistent, and were */
} TestBitmaps;

TestBitmaps *test_bitmaps_new(CrashRun *r, int64_t capacity);
void test_bitmaps_free(TestBitmaps *t);
/* Adds one; its times are set by the caller. */
TestBitmap *test_bitmap_new(TestBitmaps *t, const char *name,
                            uint64_t granularity, BitmapSafety safety);
/* The one called @name that has not been removed. */
TestBitmap *test_bitmap_find(const TestBitmaps *t, const char *name);
/* It records for certain from now on; @baseline: nothing has been written since
 * the last sample. */
void test_bitmap_begins(TestBitmaps *t, TestBitmap *b, bool baseline);
/* Its bits may be removed from now on, or writes missed. */
void test_bitmap_ends(TestBitmaps *t, TestBitmap *b);
void test_bitmap_ends_at(TestBitmap *b, CrashTime at);

/* The last one: its window is the current one. */
TestSample *test_last_sample(const TestBitmaps *t);
/*
 * Nothing is in flight: a sample of the node @bs of disk0 (NULL: it is not
 * open).  Compares a killed image with it.  False with @why.
 */
bool test_sample(TestBitmaps *t, BlockDriverState *bs, GString *why);
/* Keeps the disks of now, as if the process were killed. */
void test_kill_state(TestBitmaps *t);
/* Checks those kept. */
bool test_check_kills(TestBitmaps *t, GString *why);
/* The machine's disks after a loss of power after @cut; @killed: only the
 * process has ended. */
bool test_check_bitmaps(TestBitmaps *t, CrashTime cut, bool killed,
                        GString *why);

#endif

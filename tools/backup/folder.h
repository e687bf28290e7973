/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A folder of backups.
 *
 *     DIR/tidemark.json               what it is
 *     DIR/lock                        who works in it
 *     DIR/00001-20261129T132400Z/     a backup: manifest.json, DISK.qcow2 ...
 *     DIR/00002-20261130T020000Z.partial/   one that is not whole
 *     DIR/00003-....removed/          one that is being removed
 *
 * A backup becomes visible, and disappears, by the rename of its folder.
 * Images refer to that of their parent by a relative path, so that DIR can be
 * moved.  Backups are in the order of their numbers, whatever the clock says.
 */
#ifndef TOOLS_BACKUP_FOLDER_H
#define TOOLS_BACKUP_FOLDER_H

#include "manifest.h"

/* Suffix of an image that is not a part of the backup when that is whole. */
#define FOLDER_STAGE ".stage"

/* Who may work in the folder at the same time. */
typedef enum BackupAccess {
    BACKUP_LOOK,   /* any number, at any time: only manifests are read */
    BACKUP_READ,   /* many; nothing is merged meanwhile */
    BACKUP_ADD,    /* one, and readers; the folder is made if need be */
    BACKUP_CHANGE, /* one, and nobody else */
} BackupAccess;

/* A backup in a folder. */
typedef struct Backup {
    char *dir;                /* of its folder, with DIR */
    char *id;                 /* without ".partial" */
    int64_t sequence;
    bool partial;
    BackupManifest *manifest; /* NULL: it is damaged */
    char *damage;             /* what is wrong then */
} Backup;

typedef struct BackupFolder {
    char *path;
    char set[9];         /* of its name, as in BackupFolderInfo */
    int lock;            /* a descriptor; -1: none */
    GPtrArray *backups;  /* of Backup *, by number */
    int64_t last;        /* the highest number that was used */
} BackupFolder;

/*
 * Opens the folder at @path and reads its manifests.  NULL with @errp; *@busy
 * (may be NULL) tells whether that is since others work in it.
 */
BackupFolder *backup_folder_open(const char *path, BackupAccess access,
                                 bool *busy, Error **errp);
void backup_folder_close(BackupFolder *f);
/* Reads the manifests again. */
bool backup_folder_scan(BackupFolder *f, Error **errp);

/*
 * The whole backup that a user calls @name: its id, its number, or a time (the
 * last one that is not later).  NULL: the last one of all.  NULL with @errp.
 */
Backup *backup_folder_find(const BackupFolder *f, const char *name,
                           Error **errp);
/* By id, be it whole, merging, damaged or partial; NULL: none. */
Backup *backup_folder_get(const BackupFolder *f, const char *id);
/* Can it be restored: is it whole, and not damaged? */
bool backup_is_whole(const Backup *b);

/*
 * The disk of @b that a user calls @name; NULL: the only one.  NULL with @errp.
 */
BackupDisk *backup_choose_disk(const Backup *b, const char *name,
                               Error **errp);
/* Path, or URI, of the data of disk @d of @b; caller frees. */
char *backup_file(const Backup *b, const BackupDisk *d);
/*
 * What the image of @d names as its backing file: "../ID/FILE" of the parent.
 * NULL: nothing; or the parent is not there.  Caller frees.
 */
char *backup_backing_name(const BackupFolder *f, const BackupDisk *d);
/*
 * The backups that disk @name of @b needs, the full one first, @b last.  Their
 * manifests and files are there; NULL with @errp if not.  Free the array by
 * g_ptr_array_unref().
 */
GPtrArray *backup_chain(const BackupFolder *f, const Backup *b,
                        const char *name, Error **errp);

/*
 * Was a merge of disk @d of @b with its parent interrupted after the files were
 * merged?  Then the manifest of @b does not describe its file.
 */
bool backup_is_merged(const BackupFolder *f, const Backup *b,
                      const BackupDisk *d);

/* A new, partial backup with the next number.  NULL with @errp. */
Backup *backup_folder_add(BackupFolder *f, Error **errp);
/* Writes its manifest. */
bool backup_save(Backup *b, Error **errp);
/* @b, whose manifest says that it is whole, becomes visible. */
bool backup_folder_publish(BackupFolder *f, Backup *b, Error **errp);
/* Removes @b and its files, and frees it. */
bool backup_folder_remove(BackupFolder *f, Backup *b, Error **errp);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BackupFolder, backup_folder_close)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line, and declarations shared by its parts. */
#ifndef SYSTEM_OPTIONS_H
#define SYSTEM_OPTIONS_H

#include "qapi/optgroup.h"

typedef struct SystemOptions {
    bool stopped;      /* -S */
    bool daemonize;
    bool no_defaults, nographic;
    bool monitor_given;
    bool show_guest_name, show_time; /* -msg */
    char *guest_name;
    char *pidfile;
    char *accel;         /* -accel: names between ":", NULL: not given */
    char *machine_accel; /* the same of -machine */
    int phase;           /* being executed, a Phase */
    GArray *given_fds;   /* of -add-fd, to be closed; or NULL */
    GArray *steps;       /* of SystemStep */
} SystemOptions;

void system_options_parse(SystemOptions *options, int argc, char **argv);
/*
 * Executes them, in the order of dependencies; false at the first that fails,
 * which was reported.
 */
bool system_options_run(SystemOptions *options);
void system_options_free(SystemOptions *options);

/* --- its parts --- */

/* When an option is executed, in the order of dependencies. */
typedef enum Phase {
    PHASE_NONE, /* executed when parsed, or needs no execution */
    PHASE_EARLY,
    PHASE_OBJECT,
    PHASE_CHARDEV,
    PHASE_BLOCKDEV,
    PHASE_DRIVE,
    PHASE_MONITOR,
    PHASE_DEVICE,
    PHASE_LATE,
    PHASE__MAX,
} Phase;

/* One use of an option. */
typedef struct OptionCall {
    SystemOptions *options;
    const struct SystemOption *option;
    const char *value;        /* "" for a flag */
    struct json_object *opts; /* the value, if the option has a group */
} OptionCall;

/* Executes it; with PHASE_NONE during parsing. */
typedef bool OptionFunc(const OptionCall *call, Error **errp);

typedef struct SystemOption {
    const char *name;
    const char *args; /* NULL: a flag */
    const char *help; /* NULL: accepted, not shown */
    Phase phase;
    OptionFunc *run;  /* NULL: it has no effect */
    const OptGroup *group; /* checks its value, or NULL */
} SystemOption;

/* One option with its value, to be executed. */
typedef struct SystemStep {
    const SystemOption *option;
    char *shown; /* the value as given */
    char *value; /* with the additions of -set */
    struct json_object *opts; /* NULL: the option has no group */
} SystemStep;

/* options.c */

const SystemOption *option_find(const char *name);
/* Parses one option; ends the program if it is invalid. */
void option_take(SystemOptions *options, const SystemOption *option,
                 const char *value);
/* Fails without naming the option, as there may be several. */
void option_no_location(void);

/* option-groups.c */
extern const OptGroup machine_opt_group, sandbox_opt_group, action_opt_group,
    name_opt_group, msg_opt_group, overcommit_opt_group, add_fd_opt_group,
    boot_opt_group, smp_opt_group, memory_opt_group, mon_opt_group,
    global_opt_group, rtc_opt_group, drive_opt_group, object_opt_group,
    accel_opt_group, net_opt_group, nic_opt_group, device_opt_group;
const OptGroup *option_group_find(const char *name);

/* options-settings.c: -set, -global */
OptionFunc option_set, option_global;
/* @device with the values of -global for its model; caller frees. */
char *with_globals(const char *device);
void settings_cleanup(void);

/* options-run.c: options that create something */
OptionFunc option_object, option_chardev, option_blockdev, option_drive,
    option_disk, option_mon, option_qmp, option_qmp_pretty, option_monitor,
    option_qtest, option_line, option_device, option_incoming, option_loadvm,
    option_add_fd;

/* options-machine.c: options that describe the machine and the process */
OptionFunc option_machine, option_accel, option_enable_kvm, option_cpu;
OptionFunc option_name, option_memory,
    option_smp, option_boot, option_sandbox, option_msg, option_action,
    option_no_reboot, option_no_shutdown, option_log_items, option_log_file,
    option_display, option_vga, option_rtc, option_only_none,
    option_readconfig;
/* Accelerators are tried in the order given; false: none is available. */
bool accelerators_settle(const SystemOptions *options);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors: setting, copying, propagating, and ending the program. */
#include "qemu/osdep.h"
#include "qemu/error.h"

static void test_set(void)
{
    g_autoptr(Error) err = NULL;

    errno = ENOTTY;
    error_setg(&err, "Node '%s' is busy", "n0");
    g_assert_cmpint(errno, ==, ENOTTY);
    g_assert_cmpstr(error_get_pretty(err), ==, "Node 'n0' is busy");
    g_assert_null(error_get_hint(err));
    g_assert_cmpint(error_get_class(err), ==, ERROR_CLASS_GENERIC_ERROR);
    error_setg(NULL, "nobody cares");
}

static void test_errno(void)
{
    g_autoptr(Error) err = NULL;

    error_setg_errno(&err, ENOENT, "Cannot open '%s'", "f");
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Cannot open 'f': No such file or directory");
}

static void test_class(void)
{
    g_autoptr(Error) err = NULL;

    error_set(&err, ERROR_CLASS_DEVICE_NOT_FOUND, "No device");
    g_assert_cmpstr(error_class_name(error_get_class(err)), ==,
                    "DeviceNotFound");
    g_assert_cmpstr(error_class_name(ERROR_CLASS_COMMAND_NOT_FOUND), ==,
                    "CommandNotFound");
    g_assert_cmpstr(error_class_name(ERROR_CLASS_KVM_MISSING_CAP), ==,
                    "KVMMissingCap");
}

static void test_decorate(void)
{
    g_autoptr(Error) err = NULL;

    error_prepend(&err, "nothing ");
    error_append_hint(&err, "nothing");
    g_assert_null(err);
    error_setg(&err, "cause");
    error_prepend(&err, "%s: ", "context");
    error_append_hint(&err, "Try %d\n", 1);
    error_append_hint(&err, "Try %d\n", 2);
    g_assert_cmpstr(error_get_pretty(err), ==, "context: cause");
    g_assert_cmpstr(error_get_hint(err), ==, "Try 1\nTry 2\n");
}

static void test_propagate(void)
{
    g_autoptr(Error) err = NULL;
    Error *local = NULL;

    error_propagate(&err, NULL);
    g_assert_null(err);
    error_setg(&local, "first");
    error_propagate(&err, local);
    local = NULL;
    error_setg(&local, "second");
    error_propagate(&err, local);
    g_assert_cmpstr(error_get_pretty(err), ==, "first");
    local = NULL;
    error_setg(&local, "third");
    error_propagate(NULL, local);
}

static void test_fatal(void)
{
    if (g_test_subprocess()) {
        error_set_progname("/usr/bin/some-tool");
        error_setg(&error_fatal, "It went %s", "wrong");
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*some-tool: It went wrong\n*");
}

static void test_abort(void)
{
    if (g_test_subprocess()) {
        error_setg(&error_abort, "impossible");
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*impossible*");
}

static void test_report(void)
{
    Error *err = NULL;

    if (g_test_subprocess()) {
        error_set_progname("tool");
        error_setg(&err, "message");
        error_append_hint(&err, "hint");
        error_report_err(err);
        warn_report("careful");
        exit(0);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr("*tool: message\nhint\n"
                              "tool: warning: careful\n*");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/error/set", test_set);
    g_test_add_func("/error/errno", test_errno);
    g_test_add_func("/error/class", test_class);
    g_test_add_func("/error/decorate", test_decorate);
    g_test_add_func("/error/propagate", test_propagate);
    g_test_add_func("/error/fatal", test_fatal);
    g_test_add_func("/error/abort", test_abort);
    g_test_add_func("/error/report", test_report);
    return g_test_run();
}

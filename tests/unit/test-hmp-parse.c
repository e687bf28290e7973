/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor: command lines, expressions, help, the line editor. */
#include "qemu/osdep.h"
#include "monitor/hmp-editor.h"
#include "monitor/hmp-int.h"

/* Prints its arguments. */
static bool run_probe(HmpCall *call, Error **errp)
{
    const HmpArg *args = call->command->args;

    for (int i = 0; i < HMP_MAX_ARGS && args[i].kind; i++) {
        const char *name = args[i].name;

        if (!hmp_has(call, name)) {
            continue;
        }
        if (args[i].kind == HMP_FLAG) {
            hmp_print(call, "%s ", name);
        } else if (args[i].kind == HMP_INT || args[i].kind == HMP_SIZE) {
            hmp_print(call, "%s=%" PRId64 " ", name, hmp_int(call, name));
        } else {
            hmp_print(call, "%s='%s' ", name, hmp_str(call, name));
        }
    }
    hmp_print(call, ".\n");
    return true;
}

static bool run_fail(HmpCall *call, Error **errp)
{
    hmp_print(call, "before\n");
    error_report("reported");
    error_setg(errp, "failed");
    error_append_hint(errp, "Try harder.");
    return false;
}

static const HmpCommand sub_table[] = {
    { "block", "[-n] [-v] [device]", "nodes", run_probe,
      { { HMP_FLAG, "nodes", 'n' }, { HMP_FLAG, "verbose", 'v' },
        { HMP_DEVICE, "device", 0, true } } },
    { "name", "", "a name", run_probe },
    { 0 },
};

static const HmpCommand table[] = {
    { "stop|s", "", "stops", run_probe },
    { "help|?", "[cmd]", "helps", hmp_help,
      { { HMP_REST, "name", 0, true } } },
    { "info", "[subcommand]", "tells", .sub = sub_table },
    { "dev", "device [file]", "two words", run_probe,
      { { HMP_DEVICE, "device" }, { HMP_FILE, "file", 0, true } } },
    { "file", "file", "one word", run_probe, { { HMP_FILE, "file" } } },
    { "opts", "opts", "options", run_probe, { { HMP_OPTIONS, "opts" } } },
    { "rest", "text", "all", run_probe, { { HMP_REST, "text" } } },
    { "calc", "a b", "numbers", run_probe,
      { { HMP_INT, "a" }, { HMP_INT, "b", 0, true } } },
    { "size", "size", "a size", run_probe, { { HMP_SIZE, "size" } } },
    { "fail", "", "fails", run_fail },
    { "later", "x", "is not there", .missing = "there is no such job yet" },
    { 0 },
};

typedef struct Row {
    const char *line, *answer;
} Row;

#define TRY(command) "\r\nTry \"help " command "\" for more information\r\n"

static const Row rows[] = {
    { "", "" },
    { "  \t ", "" },
    { "nope", "unknown command: 'nope'\r\n" },
    { "sto", "unknown command: 'sto'\r\n" },
    { "stop;s", "unknown command: 'stop;s'\r\n" },
    { "\"stop\"", "unknown command: '\"stop\"'\r\n" },
    { "  stop\t", ".\r\n" },
    { "s", ".\r\n" },
    { "s x", "stop|s: extraneous characters at the end of line" TRY("s") },
    { "info foo bar", "unknown command: 'info foo'\r\n" },
    { "info name x",
      "name: extraneous characters at the end of line" TRY("info name") },
    { "info block", ".\r\n" },
    { "info block -n -v d0", "nodes verbose device='d0' .\r\n" },
    { "info block -v d0", "verbose device='d0' .\r\n" },
    { "info block -nv", "nodes device='v' .\r\n" },
    { "info block -x", "block: unsupported option -x" TRY("info block") },
    { "info block -v -n", "verbose device='-n' .\r\n" },
    { "info block -n -n", "block: unsupported option -n" TRY("info block") },
    { "info block -", "block: unsupported option -" TRY("info block") },
    { "info block \"a b\"", "device='a b' .\r\n" },
    { "info block \"",
      "block: block device name expected" TRY("info block") },
    { "dev", "dev: block device name expected" TRY("dev") },
    { "dev \"a\\n\\\"\\\\\"b", "device='a\r\n\"\\' file='b' .\r\n" },
    { "dev \"a\\x\"", "dev: block device name expected" TRY("dev") },
    { "dev 'a' b c", "dev: extraneous characters at the end of line"
                     TRY("dev") },
    { "file", "file: filename expected" TRY("file") },
    { "opts", ".\r\n" },
    { "opts a,b=c", "opts='a,b=c' .\r\n" },
    { "opts a, b", "opts: extraneous characters at the end of line"
                   TRY("opts") },
    { "rest", "rest: string expected" TRY("rest") },
    { "rest  a  \"b ", "text='a  \"b ' .\r\n" },
    { "calc 5", "a=5 .\r\n" },
    { "calc 0x10 010", "a=16 b=8 .\r\n" },
    { "calc 1+2*3 5%3", "a=7 b=2 .\r\n" },
    { "calc 1 + 2 3", "a=3 b=3 .\r\n" },
    { "calc (1) -1", "a=0 .\r\n" },
    { "calc 6&3|8^1", "a=11 .\r\n" },
    { "calc 'a' -(-~0)", "a=96 .\r\n" },
    { "calc 'a' ~0", "a=97 b=-1 .\r\n" },
    { "calc 9223372036854775807+1", "a=-9223372036854775808 .\r\n" },
    { "calc (-9223372036854775807-1)/-1", "a=-9223372036854775808 .\r\n" },
    { "calc", "unexpected end of expression" TRY("calc") },
    { "calc 1k", "invalid char 'k' in expression" TRY("calc") },
    { "calc x", "invalid char 'x' in expression" TRY("calc") },
    { "calc \"1\"", "invalid char '\"' in expression" TRY("calc") },
    { "calc (1+2 0", "')' expected" TRY("calc") },
    { "calc 1/0", "division by zero" TRY("calc") },
    { "calc 1%0", "division by zero" TRY("calc") },
    { "calc 'ab'", "missing terminating ' character" TRY("calc") },
    { "calc $pc", "unknown register" TRY("calc") },
    { "calc 99999999999999999999", "number too large" TRY("calc") },
    { "size 1", "size=1048576 .\r\n" },
    { "size +1k", "size=1024 .\r\n" },
    { "size 1.5", "size=1572864 .\r\n" },
    { "size 0x10", "size=16777216 .\r\n" },
    { "size 3B", "size=3 .\r\n" },
    { "size 1KB", "size: extraneous characters at the end of line"
                  TRY("size") },
    { "size", "invalid size" TRY("size") },
    { "size -5", "invalid size" TRY("size") },
    { "size x", "invalid size" TRY("size") },
    { "size \" 5\"", "invalid size" TRY("size") },
    { "size 99999999999999999999", "invalid size" TRY("size") },
    { "fail", "before\r\nreported\r\nError: failed\r\nTry harder.\r\n" },
    { "later \"", "Error: Command 'later' is not supported: there is no such "
                  "job yet\r\n" },
    { "help s", "stop|s  -- stops\r\n" },
    { "help ? x", "help|? [cmd] -- helps\r\n" },
    { "help foo bar", "unknown command: 'foo'\r\n" },
    { "help info foo", "unknown command: 'info foo'\r\n" },
    { "help info block",
      "info block [-n] [-v] [device] -- nodes\r\n" },
    { "info", "info block [-n] [-v] [device] -- nodes\r\n"
              "info name  -- a name\r\n" },
    { "help info", "info block [-n] [-v] [device] -- nodes\r\n"
                   "info name  -- a name\r\n" },
};

static void test_lines(void)
{
    hmp_set_commands(table);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *answer = hmp_run(rows[i].line, NULL);

        g_assert_cmpstr(answer, ==, rows[i].answer);
    }
}

static void test_help(void)
{
    g_autofree char *answer = NULL;

    hmp_set_commands(table);
    answer = hmp_run("?", NULL);
    g_assert_true(g_str_has_prefix(answer, "calc a b -- numbers\r\ndev "));
    g_assert_true(g_str_has_suffix(answer, "stop|s  -- stops\r\n"));
}

static void test_no_commands(void)
{
    g_autoptr(Error) err = NULL;

    hmp_set_commands(NULL);
    g_assert_null(hmp_run("stop", &err));
    g_assert_nonnull(err);
}

static void test_deep_expression(void)
{
    g_autoptr(GString) line = g_string_new("calc ");
    g_autofree char *answer = NULL;

    hmp_set_commands(table);
    for (int i = 0; i < 100000; i++) {
        g_string_append(line, i % 2 ? "(" : "-");
    }
    answer = hmp_run(line->str, NULL);
    g_assert_cmpstr(answer, ==, "expression too deep" TRY("calc"));
}

/* Any line gets an answer. */
static void test_random_lines(void)
{
    static const char *const words[] = {
        "info", " ", " ", "block", "-n", "-", "\"", "\\", "calc", "(", ")",
        "1", "'", "size", "help", "stop", "s", "0x", "%", "dev", "\t", "~",
        "rest", "opts", "E", "9", ".", "+",
    };
    GRand *rand = g_rand_new_with_seed(7);

    hmp_set_commands(table);
    for (int i = 0; i < 20000; i++) {
        g_autoptr(GString) line = g_string_new(NULL);
        int n = g_rand_int_range(rand, 0, 12);

        while (n--) {
            g_string_append(line, words[g_rand_int_range(
                                      rand, 0, ARRAY_SIZE(words))]);
        }
        g_free(hmp_run(line->str, NULL));
    }
    g_rand_free(rand);
}

/* --- the editor --- */

typedef struct Keys {
    const char *keys, *screen;
} Keys;

static const Keys key_rows[] = {
    { "ab", "a\033[K\033[Dab\033[K" },
    { "\001c", "\033[D\033[Dcab\033[K\033[D\033[D" },
    { "\005d", "\033[C\033[C\033[D\033[D\033[Dcabd\033[K" },
    { "\n", "\r\n<cabd>(qemu) " },
    { "\r\n", "\r\n<>(qemu) \r\n<>(qemu) " },
    { "x\177\b", "x\033[K\033[D\033[K" },
    { "\033[A", "cabd\033[K" },
    { "\020\020", "" },
    { "\033[B", "\033[D\033[D\033[D\033[D\033[K" },
    { "\016", "" },
    { "a b\027", "a\033[K\033[Da \033[K\033[D\033[Da b\033[K"
                 "\033[D\033[D\033[Da \033[K" },
    { "\033[D\033[D\033[D", "\033[D\033[D" },
    { "\033[C", "\033[C" },
    { "\033[1~\004", "\033[D \033[K\033[D" },
    { "\033[4~\033[3~\177", "\033[C\033[D\033[K" },
    { "\002\003\013\033OD", "" },
    { "\014", "\033[2J\033[1;1H(qemu) " },
    { "s\t", "s\033[K\r\ns         size      stop      \r\n(qemu) s\033[K" },
    { "\001\n", "\033[D\r\n<s>(qemu) " },
    { "sto\t", "s\033[K\033[Dst\033[K\033[D\033[Dsto\033[K"
               "\033[D\033[D\033[Dstop \033[K" },
    { "\027", "\033[D\033[D\033[D\033[D\033[D\033[K" },
    { "zz\t", "z\033[K\033[Dzz\033[K" },
};

static void test_editor(void)
{
    HmpEditor ed;

    hmp_set_commands(table);
    hmp_editor_init(&ed, hmp_complete);
    hmp_editor_prompt(&ed);
    g_assert_cmpstr(ed.out->str, ==, "(qemu) ");
    for (size_t i = 0; i < ARRAY_SIZE(key_rows); i++) {
        g_string_truncate(ed.out, 0);
        for (const char *key = key_rows[i].keys; *key; key++) {
            g_autofree char *line = hmp_editor_key(&ed, *key);

            if (line) {
                g_string_append_printf(ed.out, "<%s>", line);
                hmp_editor_prompt(&ed);
            }
        }
        g_assert_cmpstr(ed.out->str, ==, key_rows[i].screen);
    }
    hmp_editor_destroy(&ed);
}

static void test_editor_random(void)
{
    GRand *rand = g_rand_new_with_seed(11);
    HmpEditor ed;

    hmp_set_commands(table);
    hmp_editor_init(&ed, hmp_complete);
    hmp_editor_prompt(&ed);
    for (int i = 0; i < 100000; i++) {
        int key = g_rand_int_range(rand, 0, 256);
        char *line = hmp_editor_key(&ed, key % 7 ? key : 27);

        g_assert_cmpuint(ed.cursor, <=, ed.line->len);
        g_assert_cmpuint(ed.shown, ==, ed.cursor);
        g_assert_cmpuint(ed.history->len, <=, HMP_HISTORY_MAX);
        if (line) {
            hmp_editor_prompt(&ed);
        }
        g_free(line);
        g_string_truncate(ed.out, 0);
    }
    hmp_editor_destroy(&ed);
    g_rand_free(rand);
}

static void test_complete(void)
{
    static const Row words[] = {
        { "s", "s size stop" }, { "st", "stop" }, { "info ", "block name" },
        { "info b", "block" }, { "help f", "fail file" },
        { "? info n", "name" }, { "stop ", "" }, { "nope x", "" },
        { "help stop ", "" },
    };

    hmp_set_commands(table);
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        g_auto(GStrv) found = hmp_complete(words[i].line);
        g_autofree char *joined = g_strjoinv(" ", found);

        g_assert_cmpstr(joined, ==, words[i].answer);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hmp/lines", test_lines);
    g_test_add_func("/hmp/help", test_help);
    g_test_add_func("/hmp/no-commands", test_no_commands);
    g_test_add_func("/hmp/deep-expression", test_deep_expression);
    g_test_add_func("/hmp/random-lines", test_random_lines);
    g_test_add_func("/hmp/editor", test_editor);
    g_test_add_func("/hmp/editor-random", test_editor_random);
    g_test_add_func("/hmp/complete", test_complete);
    return g_test_run();
}

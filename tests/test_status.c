/* SPDX-License-Identifier: Apache-2.0 */
/* Statuses, versions, and how errors are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hopmla/hopmla.h"
#include "lib/error.h"

static const hopmla_status statuses[] = {
    HOPMLA_OK,
    HOPMLA_ERROR_ARGUMENT,
    HOPMLA_ERROR_NULL,
    HOPMLA_ERROR_STRUCT_SIZE,
    HOPMLA_ERROR_STRUCT_TAIL,
    HOPMLA_ERROR_ENUM,
    HOPMLA_ERROR_OVERFLOW,
    HOPMLA_ERROR_STALE_ID,
    HOPMLA_ERROR_FOREIGN_ID,
    HOPMLA_ERROR_DUPLICATE_ID,
    HOPMLA_ERROR_ALIGNMENT,
    HOPMLA_ERROR_DTYPE,
    HOPMLA_ERROR_MISMATCH,
    HOPMLA_ERROR_ENVELOPE,
    HOPMLA_ERROR_RANGE,
    HOPMLA_ERROR_STATE,
    HOPMLA_ERROR_CAPTURE,
    HOPMLA_ERROR_NO_STORAGE,
    HOPMLA_ERROR_OUT_OF_PAGES,
    HOPMLA_ERROR_OUT_OF_HOST_MEMORY,
    HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY,
    HOPMLA_ERROR_TOO_MANY,
    HOPMLA_ERROR_BUSY,
    HOPMLA_ERROR_NO_DRIVER,
    HOPMLA_ERROR_OLD_DRIVER,
    HOPMLA_ERROR_NO_DEVICE,
    HOPMLA_ERROR_DEVICE,
    HOPMLA_ERROR_NOT_BUILT,
    HOPMLA_ERROR_UNSUPPORTED,
    HOPMLA_ERROR_DRIVER,
    HOPMLA_ERROR_DRIVER_STICKY,
    HOPMLA_ERROR_INTERNAL,
    HOPMLA_ERROR_IO,
};
enum {
    STATUSES = sizeof(statuses) / sizeof(statuses[0])
};

static void test_every_status_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < STATUSES; i++) {
        const char *name = hopmla_status_name(statuses[i]);
        assert_string_not_equal(name, "UNKNOWN");
        assert_true(strlen(hopmla_status_text(statuses[i])) > 5);
        for (int k = 0; k < i; k++) {
            assert_int_not_equal(statuses[i], statuses[k]);
            assert_string_not_equal(name, hopmla_status_name(statuses[k]));
        }
    }
    assert_string_equal(hopmla_status_name(HOPMLA_OK), "OK");
    assert_string_equal(hopmla_status_name(HOPMLA_ERROR_OUT_OF_PAGES), "OUT_OF_PAGES");
}

static void test_other_values_are_unknown(void **state)
{
    (void)state;
    const hopmla_status others[] = { 1, -1, -99, -114, -204, -801, -901, INT32_MIN, INT32_MAX };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_string_equal(hopmla_status_name(others[i]), "UNKNOWN");
        assert_non_null(hopmla_status_text(others[i]));
    }
}

static void test_versions_agree(void **state)
{
    (void)state;
    char text[32];
    const uint32_t version = hopmla_version();
    snprintf(text, sizeof(text), "%u.%u.%u", version >> 16, version >> 8 & 255, version & 255);
    assert_string_equal(hopmla_version_string(), text);
    assert_int_equal(version >> 16, HOPMLA_VERSION_MAJOR);
    assert_int_equal(hopmla_abi_version(), HOPMLA_ABI_VERSION);
}

static void test_fail_fills_everything(void **state)
{
    (void)state;
    hopmla_error error = HOPMLA_ERROR_INIT;
    memset(error.message, 'x', sizeof(error.message));
    assert_int_equal(hm_fail_value(&error, HOPMLA_ERROR_OUT_OF_PAGES, 7, "%d pages are missing", 7),
                     HOPMLA_ERROR_OUT_OF_PAGES);
    assert_int_equal(error.status, HOPMLA_ERROR_OUT_OF_PAGES);
    assert_int_equal(error.value, 7);
    assert_int_equal(error.native_code, 0);
    assert_string_equal(error.message, "7 pages are missing");
    assert_int_equal(error.message[sizeof(error.message) - 1], 0);

    assert_int_equal(hm_fail_native(&error, HOPMLA_ERROR_DRIVER, 700, "the driver said %s", "no"), HOPMLA_ERROR_DRIVER);
    assert_int_equal(error.native_code, 700);
    assert_int_equal(error.value, 0);

    assert_int_equal(hm_fail(NULL, HOPMLA_ERROR_BUSY, "nobody listens"), HOPMLA_ERROR_BUSY);
    assert_int_equal(hm_fail(&error, HOPMLA_ERROR_STATE, "before: %s", error.message), HOPMLA_ERROR_STATE);
    assert_string_equal(error.message, "before: the driver said no");
}

static void test_fail_leaves_what_is_beyond_the_struct(void **state)
{
    (void)state;
    struct {
        hopmla_error error;
        char beyond[16];
    } newer;
    memset(&newer, 0x5a, sizeof(newer));
    newer.error.struct_size = sizeof(newer);
    hm_fail(&newer.error, HOPMLA_ERROR_ARGUMENT, "%0500d", 1);
    assert_int_equal(strlen(newer.error.message), sizeof(newer.error.message) - 1);
    for (size_t i = 0; i < sizeof(newer.beyond); i++) {
        assert_int_equal(newer.beyond[i], 0x5a);
    }
}

/* A message that fills its room up to `spare` bytes short, then a character of several bytes. */
static void check_cut(int spare, const char *character, int kept)
{
    hopmla_error error = HOPMLA_ERROR_INIT;
    const int room = (int)sizeof(error.message) - 1 - spare;
    hm_fail(&error, HOPMLA_ERROR_ARGUMENT, "%0*d%s%s", room, 0, character, "more text after it");
    if (kept) {
        assert_memory_equal(error.message + room, character, strlen(character));
    } else {
        assert_int_equal(strlen(error.message), room);
    }
}

static void test_a_cut_message_ends_with_a_whole_character(void **state)
{
    (void)state;
    const char *characters[] = { "\xc3\x97", "\xe2\x80\xa6", "\xf0\x9f\x90\x87" };
    for (int i = 0; i < 3; i++) {
        for (int spare = 0; spare <= 4; spare++) {
            check_cut(spare, characters[i], spare >= (int)strlen(characters[i]));
        }
    }
}

static void test_error_init(void **state)
{
    (void)state;
    _Alignas(hopmla_error) unsigned char room[sizeof(hopmla_error) + 64];
    hopmla_error *error = (hopmla_error *)(void *)room;
    memset(room, 0xff, sizeof(room));
    assert_int_equal(hopmla_error_init(NULL, sizeof(hopmla_error)), HOPMLA_ERROR_NULL);
    assert_int_equal(hopmla_error_init(error, sizeof(hopmla_error) - 1), HOPMLA_ERROR_STRUCT_SIZE);
    assert_int_equal(hopmla_error_init(error, 0), HOPMLA_ERROR_STRUCT_SIZE);
    assert_int_equal(hopmla_error_init(error, UINT64_MAX), HOPMLA_ERROR_STRUCT_SIZE);
    assert_int_equal(room[0], 0xff);
    assert_int_equal(hopmla_error_init(error, sizeof(hopmla_error) + 32), HOPMLA_OK);
    assert_int_equal(error->struct_size, sizeof(hopmla_error) + 32);
    for (size_t i = sizeof(uint32_t); i < sizeof(hopmla_error) + 32; i++) {
        assert_int_equal(room[i], 0);
    }
    assert_int_equal(room[sizeof(hopmla_error) + 32], 0xff);
}

static void test_an_error_struct_of_no_possible_size_is_refused(void **state)
{
    (void)state;
    const uint32_t sizes[] = { 0, sizeof(hopmla_error) - 1, 4097, UINT32_MAX };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        hopmla_error error = HOPMLA_ERROR_INIT;
        hopmla_context *context = NULL;
        error.struct_size = sizes[i];
        assert_int_equal(hopmla_context_create(NULL, &context, &error), HOPMLA_ERROR_STRUCT_SIZE);
        assert_int_equal(hopmla_context_create(NULL, NULL, &error), HOPMLA_ERROR_STRUCT_SIZE); /* comes first */
        assert_int_equal(hm_fail(&error, HOPMLA_ERROR_STATE, "not written"), HOPMLA_ERROR_STATE);
        assert_null(context);
        assert_int_equal(error.status, 0);
        assert_int_equal(error.message[0], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_status_has_a_name_of_its_own),
        cmocka_unit_test(test_other_values_are_unknown),
        cmocka_unit_test(test_versions_agree),
        cmocka_unit_test(test_fail_fills_everything),
        cmocka_unit_test(test_fail_leaves_what_is_beyond_the_struct),
        cmocka_unit_test(test_a_cut_message_ends_with_a_whole_character),
        cmocka_unit_test(test_error_init),
        cmocka_unit_test(test_an_error_struct_of_no_possible_size_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}

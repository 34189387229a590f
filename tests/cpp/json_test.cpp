#include "json.h"

#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "text.h"

using namespace saccade::contract;

namespace {

bool is_canonical(const std::string& text) {
    try {
        check_json(text);
        return true;
    } catch (const saccade::Error& error) {
        const std::string message = error.what();
        HOLDS(!message.empty() && message.find('\n') == std::string::npos && message.size() < 300);
        HOLDS(error.status() == saccade::Status::kDamaged);
        return false;
    }
}

}  // namespace

TEST(what_python_writes_is_taken) {
    for (const char* text : {"null",
                             "true",
                             "false",
                             "0",
                             "-1",
                             "12",
                             "99999999999999999999999999",
                             "0.0",
                             "-0.0",
                             "1.5",
                             "1e-12",
                             "1.5e-07",
                             "0.0001",
                             "1e-05",
                             "123456789012345.6",
                             "1000000000000000.0",
                             "1e+16",
                             "5e-324",
                             "1.7976931348623157e+308",
                             "\"\"",
                             "\"Wörter 🙂\"",
                             R"("\"\\\b\f\n\r\t\u0000\u001f")",
                             "\"/\x7f\"",
                             "[]",
                             "{}",
                             "[[], {}]",
                             "[1, \"a\", null]",
                             R"({"a": 1, "b": {"a": [1, 2]}})",
                             R"({"": 0, "A": 0, "a": 0, "é": 0})",
                             R"({"\t": 0, "\u001f": 0, " ": 0, "\"": 0, "\\": 0})",
                             "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]"}) {
        if (!is_canonical(text)) std::cerr << text << "\n";
        HOLDS(is_canonical(text));
    }
    HOLDS(is_canonical(std::string(4300, '9')));
}

TEST(what_python_would_write_otherwise_is_refused) {
    for (const char* text : {"",
                             " ",
                             "nul",
                             "True",
                             "NaN",
                             "Infinity",
                             "-Infinity",
                             "inf",
                             "nan",
                             "+1",
                             "01",
                             "-0",
                             "--1",
                             "-",
                             "1-1",
                             ".5",
                             "1.",
                             "1.50",
                             "1.0e5",
                             "1e5",
                             "1E5",
                             "1e-5",
                             "1e+5",
                             "1e16",
                             "100000000000000000.0",
                             "0.00001",
                             "1e999",
                             "1e-999",
                             "0x10",
                             "1 ",
                             " 1",
                             "1\n",
                             "[1,2]",
                             "[1 ,2]",
                             "[1, 2",
                             "[1, ]",
                             "[, 1]",
                             "[1,  2]",
                             "[ ]",
                             "]",
                             "{",
                             "{\"a\":1}",
                             "{\"a\" : 1}",
                             "{\"a\"}",
                             "{a: 1}",
                             "{1: 1}",
                             "{\"a\": 1, }",
                             "{\"b\": 1, \"a\": 1}",
                             "{\"a\": 1, \"a\": 1}",
                             "{\"a\": 1}}",
                             "\"",
                             "\"a",
                             "\"\\\"",
                             "\"\\",
                             "\"\\/\"",
                             "\"\\a\"",
                             "\"\\x41\"",
                             "\"\\u0041\"",
                             "\"\\u001F\"",
                             "\"\\u000a\"",
                             "\"\\u00e9\"",
                             "\"\\ud800\"",
                             "\"\\u00\"",
                             "\"\\u0\"",
                             "\"\n\"",
                             "\"\t\"",
                             "\"\x01\"",
                             "\"\x80\"",
                             "\"\xff\"",
                             "\"\xc3\"",
                             "\"\xc0\x80\"",
                             "\"\xe0\x80\x80\"",
                             "\"\xed\xa0\x80\"",
                             "\"\xf0\x80\x80\x80\"",
                             "\"\xf4\x90\x80\x80\"",
                             "\"\xf5\x80\x80\x80\"",
                             "é",
                             "\xef\xbb\xbf{}",
                             "1, 2",
                             "/**/1",
                             "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]",
                             "{\"\\\\\": 0, \"\\\"\": 0}"}) {
        if (is_canonical(text)) std::cerr << text << "\n";
        HOLDS(!is_canonical(text));
    }
    HOLDS(!is_canonical(std::string("1\0", 2)));
    HOLDS(!is_canonical(std::string("\"\0\"", 3)));
    HOLDS(!is_canonical(std::string(4301, '9')));
    HOLDS(!is_canonical(std::string(10'000'000, '[')));
}

TEST(the_place_and_what_came_are_said) {
    FAILS(check_json("[1, 2,3]"), "byte 5: expected ', ' or ']', not ',3]'");
    FAILS(check_json("[\"\x1b[2J\"]"), "byte 2: expected no control character, not '\\x1b[2J\"]'");
    FAILS(check_json("[1.50]"), "byte 1: expected a value as saccade writes it, not '1.50]'");
    FAILS(check_json("{\"b\": 0, \"a\": 0}"), "byte 9: expected the table's keys in order");
    FAILS(check_json("[[[[[[[[[[[[[[[[["), "byte 16: nested in more than 16 levels");
    FAILS(check_json("[1"), "not the end");
}

TEST(values_are_read) {
    const std::string text =
        R"({"a": [1, -2.5, "x\"\n\u0001é", null, true, []], "b,]\"": {"c": {}}, "d": 9223372036854775807})";
    check_json(text);
    Items table{Value(text)};
    EQUAL(table.count(), 3U);
    HOLDS(table.next() && table.key().string() == "a");
    Items list(table.value());
    HOLDS(list.next() && list.value().integer() == 1 && list.value().number() == 1.0 && !list.value().string());
    HOLDS(list.next() && list.value().number() == -2.5 && !list.value().integer());
    HOLDS(list.next() && list.value().string() == "x\"\n\1é" && !list.value().number());
    HOLDS(list.next() && list.value().is_null() && !list.value().integer());
    HOLDS(list.next() && list.value().kind() == Value::Kind::kBool && list.value().text() == "true");
    HOLDS(list.next() && list.value().kind() == Value::Kind::kList && !Items(list.value()).next());
    HOLDS(!list.next());
    HOLDS(table.next() && table.key().string() == "b,]\"" && Items(table.value()).count() == 1);
    HOLDS(table.next() && table.value().integer() == INT64_MAX);
    HOLDS(!table.next());
    HOLDS(!Value("9223372036854775808").integer() && Value("9223372036854775808").number() == 0x1p63);
    HOLDS(!Value(std::string(400, '9')).number());
    HOLDS(!Items{Value("3")}.next());
}

TEST(numbers_are_written_as_python_does) {
    const std::vector<std::pair<double, const char*>> known = {{0.0, "0.0"},
                                                               {-0.0, "-0.0"},
                                                               {1.0, "1.0"},
                                                               {-2.5, "-2.5"},
                                                               {1e-4, "0.0001"},
                                                               {1e-5, "1e-05"},
                                                               {1e15, "1000000000000000.0"},
                                                               {1e16, "1e+16"},
                                                               {1e100, "1e+100"},
                                                               {0.1, "0.1"},
                                                               {1.0 / 3, "0.3333333333333333"},
                                                               {5e-324, "5e-324"},
                                                               {123456.75, "123456.75"},
                                                               {9007199254740993.0, "9007199254740992.0"},
                                                               {2.0 / 3 * 1e-7, "6.666666666666665e-08"}};
    for (const auto& [value, wanted] : known) HOLDS(shortest(value) == wanted);
    HOLDS(shortest(0.1 + 0.2) != "0.3");
}

TEST(utf8_and_what_may_be_shown) {
    HOLDS(is_utf8("") && is_utf8("aé€🙂\xf4\x8f\xbf\xbf") && !is_utf8("\xf4\x90\x80\x80") && !is_utf8("a\xc3"));
    EQUAL(length_of("aé€🙂"), 4U);
    HOLDS(is_printable("layer4.2 é€🙂ß日本") && is_printable("") && is_printable(" "));
    for (const char* text :
         {"\n", "\x1b[2J", "\x7f", "\xc2\x80", "\xc2\xa0", "\xc2\xad",
          "a\xe2\x80\xae"
          "b",
          "\xe2\x80\xa8", "\xef\xbb\xbf", "\xe3\x80\x80", "\xee\x80\x80", "\xf3\xa0\x80\xa0", "\xef\xbf\xbf", "\xff"}) {
        HOLDS(!is_printable(text));
    }
    HOLDS(is_identifier("grad_cam_2") && is_identifier("_x") && !is_identifier("") && !is_identifier("2x"));
    HOLDS(!is_identifier("a-b") && !is_identifier("é") && !is_identifier("a\n"));
    HOLDS(quoted("a\n\xff") == "'a\\x0a\\xff'");
    HOLDS(quoted(std::string(50, 'x')) == "'" + std::string(40, 'x') + "…'");
}

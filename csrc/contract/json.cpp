#include "json.h"

#include <charconv>
#include <cmath>

#include "saccade/error.h"
#include "text.h"

namespace saccade::contract {
namespace {

constexpr int kMaxDepth = 16;
constexpr size_t kMaxDigits = 4300;

/// The character that stands behind a backslash, or 0 where none is written so.
char meaning_of(char escape) {
    switch (escape) {
        case '"':
        case '\\':
            return escape;
        case 'b':
            return '\b';
        case 'f':
            return '\f';
        case 'n':
            return '\n';
        case 'r':
            return '\r';
        case 't':
            return '\t';
        default:
            return 0;
    }
}

/// The value of `\u00XX`'s last two digits, at `at`; -1 where they are not lower-case hexadecimal.
int hexadecimal(std::string_view text, size_t at) {
    int value = 0;
    for (size_t i = at; i < at + 2; ++i) {
        const size_t digit = i < text.size() ? std::string_view("0123456789abcdef").find(text[i]) : std::string::npos;
        if (digit == std::string::npos) return -1;
        value = 16 * value + static_cast<int>(digit);
    }
    return value;
}

/// What a string's text between its quotes means; it has been checked.
std::string decoded(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\') {
            out += text[i];
        } else if (text[++i] != 'u') {
            out += meaning_of(text[i]);
        } else {
            out += static_cast<char>(hexadecimal(text, i + 3));
            i += 4;
        }
    }
    return out;
}

/// Whether one key sorts before another: by its code points, which is by the bytes of UTF-8.
bool is_before(std::string_view a, std::string_view b) {
    const bool plain = a.find('\\') == std::string::npos && b.find('\\') == std::string::npos;
    return plain ? a < b : decoded(a) < decoded(b);
}

bool is_of_number(char c) { return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e'; }

class Checker {
  public:
    explicit Checker(std::string_view text) : text_(text) {}

    void check() {
        value(0);
        need(at_ == text_.size(), "the end");
    }

  private:
    void need(bool holds, const char* expected) {
        if (holds) return;
        fail_with(Status::kDamaged, "byte ", at_, ": expected ", expected, ", not ",
                  at_ < text_.size() ? quoted(text_.substr(at_, 20)) : "the end");
    }

    bool take(std::string_view word) {
        const bool there = text_.compare(at_, word.size(), word) == 0;
        if (there) at_ += word.size();
        return there;
    }

    void value(int depth) {
        const char first = at_ < text_.size() ? text_[at_] : '\0';
        if (first == '{' || first == '[') {
            if (depth == kMaxDepth) {
                fail_with(Status::kDamaged, "byte ", at_, ": nested in more than ", kMaxDepth, " levels");
            }
            ++at_;
            first == '{' ? table(depth + 1) : list(depth + 1);
        } else if (first == '"') {
            string();
        } else if (!take("null") && !take("true") && !take("false")) {
            number();
        }
    }

    void list(int depth) {
        if (take("]")) return;
        do {
            value(depth);
        } while (take(", "));
        need(take("]"), "', ' or ']'");
    }

    void table(int depth) {
        if (take("}")) return;
        std::string_view last;
        bool first = true;
        do {
            const size_t start = at_;
            const std::string_view key = string();
            if (!first && !is_before(last, key)) {
                at_ = start;
                need(false, "the table's keys in order and each once");
            }
            last = key;
            first = false;
            need(take(": "), "': '");
            value(depth);
        } while (take(", "));
        need(take("}"), "', ' or '}'");
    }

    std::string_view string() {
        need(take("\""), "a text in quotes");
        const size_t start = at_;
        while (!take("\"")) {
            need(at_ < text_.size(), "a closing quote");
            if (text_[at_] == '\\') {
                escape();
            } else {
                const CodePoint point = first_code_point(text_.substr(at_));
                need(point.bytes > 0, "UTF-8");
                need(point.value >= 0x20, "no control character");
                at_ += point.bytes;
            }
        }
        return text_.substr(start, at_ - 1 - start);
    }

    void escape() {
        const char kind = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
        if (kind != 'u') {
            need(meaning_of(kind) != 0, "an escape that saccade writes");
            at_ += 2;
            return;
        }
        // Only control characters are written so, and of those only the ones that have no shorter escape.
        const int value = hexadecimal(text_, at_ + 4);
        const bool shorter = value == '\b' || value == '\f' || value == '\n' || value == '\r' || value == '\t';
        const bool zeros = text_.compare(at_ + 2, 2, "00") == 0;
        need(zeros && value >= 0 && value < 0x20 && !shorter, "an escape that saccade writes");
        at_ += 6;
    }

    void number() {
        size_t end = at_;
        while (end < text_.size() && is_of_number(text_[end])) ++end;
        const std::string_view token = text_.substr(at_, end - at_);
        const bool whole = token.find_first_of(".e+") == std::string::npos;
        need(whole ? is_whole(token) : is_real(token), "a value as saccade writes it");
        at_ = end;
    }

    static bool is_whole(std::string_view token) {
        const std::string_view digits = token.substr(!token.empty() && token[0] == '-');
        if (digits == "0") return digits.size() == token.size();  // there is no -0
        return !digits.empty() && digits.size() <= kMaxDigits && digits[0] != '0' &&
               digits.find('-') == std::string::npos;
    }

    static bool is_real(std::string_view token) {
        double value = 0;
        const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), value);
        return error == std::errc() && end == token.data() + token.size() && shortest(value) == token;
    }

    std::string_view text_;
    size_t at_ = 0;
};

/// Where the value at the start of a checked text ends.
size_t end_of_value(std::string_view text) {
    int level = 0;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '"') {
            for (++i; text[i] != '"'; ++i) i += text[i] == '\\';
        } else if (c == '{' || c == '[') {
            ++level;
        } else if (c == '}' || c == ']') {
            if (level == 0) return i;
            --level;
        }
        if (level == 0 && c == ',') return i;
        if (level == 0 && (c == '"' || c == '}' || c == ']')) return i + 1;
    }
    return text.size();
}

}  // namespace

void check_json(std::string_view text) { Checker(text).check(); }

Value::Kind Value::kind() const {
    switch (text_.empty() ? '\0' : text_[0]) {
        case 'n':
            return Kind::kNull;
        case 't':
        case 'f':
            return Kind::kBool;
        case '"':
            return Kind::kString;
        case '[':
            return Kind::kList;
        case '{':
            return Kind::kTable;
        default:
            return text_.find_first_of(".e") == std::string::npos ? Kind::kInteger : Kind::kReal;
    }
}

std::optional<std::string> Value::string() const {
    if (kind() != Kind::kString) return std::nullopt;
    return decoded(text_.substr(1, text_.size() - 2));
}

std::optional<int64_t> Value::integer() const {
    int64_t value = 0;
    if (kind() != Kind::kInteger) return std::nullopt;
    if (std::from_chars(text_.data(), text_.data() + text_.size(), value).ec != std::errc()) return std::nullopt;
    return value;
}

std::optional<double> Value::number() const {
    double value = 0;
    if (kind() != Kind::kInteger && kind() != Kind::kReal) return std::nullopt;
    if (std::from_chars(text_.data(), text_.data() + text_.size(), value).ec != std::errc()) return std::nullopt;
    return value;
}

Items::Items(Value value) : table_(value.kind() == Value::Kind::kTable) {
    const std::string_view text = value.text();
    if (table_ || value.kind() == Value::Kind::kList) rest_ = text.substr(1, text.size() - 2);
}

bool Items::next() {
    if (rest_.empty()) return false;
    const auto taken = [this] {
        const size_t end = end_of_value(rest_);
        const Value found(rest_.substr(0, end));
        rest_.remove_prefix(end);
        rest_.remove_prefix(rest_.empty() ? 0 : 2);  // ", " or ": "
        return found;
    };
    if (table_) key_ = taken();
    value_ = taken();
    return true;
}

size_t Items::count() const {
    Items left = *this;
    size_t number = 0;
    while (left.next()) ++number;
    return number;
}

std::string shortest(double value) {
    char buffer[32];
    const auto written = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
    std::string text(buffer, written.ptr);
    const size_t e = text.find('e');
    if (e == std::string::npos) return text;  // an infinity or none
    const int exponent = std::stoi(text.substr(e + 1));
    if (exponent < -4 || exponent >= 16) return text;
    const std::string sign = text[0] == '-' ? "-" : "";
    std::string digits;
    for (const char c : text.substr(sign.size(), e - sign.size())) {
        if (c != '.') digits += c;
    }
    if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
    const size_t before = static_cast<size_t>(exponent) + 1;
    if (digits.size() <= before) return sign + digits + std::string(before - digits.size(), '0') + ".0";
    return sign + digits.substr(0, before) + "." + digits.substr(before);
}

}  // namespace saccade::contract

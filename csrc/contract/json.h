// JSON as `Spec.to_json` of engine/contract/spec.py writes it, and no other: one text for each contract, so that the
// hash of the text is the hash of what it says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace saccade::contract {

/// Sees that a text is what Python's json.dumps(…, sort_keys=True, ensure_ascii=False, allow_nan=False) would write of
/// what it says: UTF-8, no white space but after "," and ":", a table's keys sorted and different, nothing escaped that
/// need not be, whole numbers of at most 4300 digits (what Python reads), others as the shortest that mean the same
/// double; at most 16 lists and tables in one another. Takes no memory but for keys that have escapes, and time in
/// proportion to the text. Throws Error with the place.
void check_json(std::string_view text);

/// A value inside a text that `check_json` let pass; it must outlive the value. Nothing is built: a value is the part
/// of the text where it stands.
class Value {
  public:
    enum class Kind { kNull, kBool, kInteger, kReal, kString, kList, kTable };

    explicit Value(std::string_view text) : text_(text) {}
    Kind kind() const;
    bool is_null() const { return kind() == Kind::kNull; }
    /// As it stands in the text; a string's has its quotes and escapes.
    std::string_view text() const { return text_; }
    /// A string's text, UTF-8; it may have a NUL in it. Of another kind: nothing.
    std::optional<std::string> string() const;
    /// Of a whole number from -2^63 to 2^63 - 1.
    std::optional<int64_t> integer() const;
    /// Of any number that a double can hold.
    std::optional<double> number() const;

  private:
    std::string_view text_;
};

/// The values of a list, or a table's keys and values, one after the other.
class Items {
  public:
    /// Of a value of another kind there are none.
    explicit Items(Value list_or_table);
    /// Goes to the next one; false after the last.
    bool next();
    /// Of a table.
    Value key() const { return key_; }
    Value value() const { return value_; }
    /// How many follow; takes the time of going through them.
    size_t count() const;

  private:
    std::string_view rest_;
    bool table_;
    Value key_{""}, value_{""};
};

/// As Python's repr: the shortest that reads as the same double, 1e-09, 0.25, 3.0, 1e+16.
std::string shortest(double value);

}  // namespace saccade::contract

// An ONNX file is one protobuf message, ModelProto; its metadata are entries of a key and a value.
#include <cstdint>

#include "container.h"
#include "saccade/error.h"

namespace saccade::contract {
namespace {

constexpr int kMaxFields = 100'000, kMaxFieldsOfEntry = 16;
constexpr uint64_t kMetadataProps = 14, kLastField = 64;  // numbers of ModelProto's fields, of onnx.proto

[[noreturn]] void no_program() {
    fail_with(Status::kDamaged, "no ONNX file and no archive of torch; expected one made by `saccade compile`");
}

/// The fields of a message, one after the other.
class Fields {
  public:
    Fields(std::string_view message, int most) : message_(message), left_(most) {}

    /// Goes to the next field; false at the end.
    bool next() {
        if (at_ == message_.size()) return false;
        if (left_-- == 0) no_program();
        begin_ = at_;
        const uint64_t tag = varint();
        number_ = tag >> 3;
        size_t start = at_;
        uint64_t length = 0;
        switch (tag & 7) {
            case 0:
                varint();
                break;
            case 1:
                length = 8;
                break;
            case 2:
                length = varint();
                start = at_;
                break;
            case 5:
                length = 4;
                break;
            default:
                no_program();
        }
        if (length > message_.size() - at_) {
            fail_with(Status::kDamaged, "cut short (a field of ", length, " bytes begins at byte ", at_, " of ",
                      message_.size(), "); copy it again");
        }
        at_ += static_cast<size_t>(length);
        payload_ = message_.substr(start, at_ - start);
        return true;
    }

    uint64_t number() const { return number_; }
    std::string_view payload() const { return payload_; }
    /// The field with its tag and length.
    Span whole() const { return {begin_, at_}; }

  private:
    /// Up to 10 bytes of 7 bits; what is more than 64 bits is the largest number, which nothing is as long as.
    uint64_t varint() {
        uint64_t value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            if (at_ == message_.size()) {
                fail_with(Status::kDamaged, "cut short after ", at_, " bytes; copy or compile it again");
            }
            const uint64_t byte = static_cast<uint8_t>(message_[at_++]);
            value |= (byte & 0x7f) << shift;
            if (shift == 63 && (byte & 0x7e) != 0) value |= ~uint64_t{7};  // the last 3 bits may be a tag's type
            if (byte < 0x80) return value;
        }
        no_program();
    }

    std::string_view message_, payload_;
    size_t at_ = 0, begin_ = 0;
    int left_;
    uint64_t number_ = 0;
};

/// The value of a StringStringEntryProto whose key is ours.
std::optional<std::string_view> read_entry(std::string_view entry) {
    if (entry.size() > kMaxContract) {
        fail_with(Status::kDamaged, entry.size(), " bytes of metadata; expected at most ", kMaxContract);
    }
    std::string_view key, value;
    for (Fields fields(entry, kMaxFieldsOfEntry); fields.next();) {
        if (fields.number() == 1) key = fields.payload();
        if (fields.number() == 2) value = fields.payload();
    }
    if (key != "saccade") return std::nullopt;
    return value;
}

}  // namespace

Container read_onnx(std::string_view file) {
    Container found{Format::kOnnx, std::nullopt, {}};
    for (Fields fields(file, kMaxFields); fields.next();) {
        if (fields.number() < 1 || fields.number() > kLastField) no_program();
        if (fields.number() != kMetadataProps) continue;
        const std::optional<std::string_view> text = read_entry(fields.payload());
        if (!text) continue;
        if (found.text) fail_with(Status::kDamaged, "two contracts; compile the program again");
        found.text = text;
        found.unhashed = {fields.whole()};
    }
    return found;
}

}  // namespace saccade::contract

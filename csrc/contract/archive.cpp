// TorchScript and AOTInductor files are zip archives. Only the directory at their end is read; nothing is unpacked: the
// contract is stored as it is. What is taken and refused is what Python's zipfile and program_file.py take and refuse.
#include <algorithm>
#include <cstdint>

#include "container.h"
#include "saccade/error.h"
#include "text.h"

namespace saccade::contract {
namespace {

constexpr uint64_t kMaxDirectory = 8 << 20;  // bytes
constexpr uint64_t kMaxPacked = 64 << 20;    // what packed entries may unpack to, all together
constexpr uint64_t kMax32 = 0xffffffff, kMax64 = ~uint64_t{0};
constexpr uint64_t kMaxPlace = uint64_t{1} << 62;
constexpr int kMaxVersion = 63;  // of the format, that an entry may ask for
constexpr size_t kEndSize = 22, kEnd64Size = 56, kLocator64Size = 20, kRecordSize = 46, kLocalSize = 30;

[[noreturn]] void damaged(const char* reason) {
    fail_with(Status::kDamaged, "cut short or damaged (", reason, "); copy or compile it again");
}

/// A little-endian number of `bytes` bytes at `at`.
uint64_t number(std::string_view bytes, size_t at, size_t size) {
    if (at > bytes.size() || bytes.size() - at < size) damaged("it ends too early");
    uint64_t value = 0;
    for (size_t i = size; i > 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[at + i - 1]);
    return value;
}

/// What there is of `size` bytes at `at`.
std::string_view part(std::string_view bytes, size_t at, size_t size) {
    return at < bytes.size() ? bytes.substr(at, size) : std::string_view();
}

bool begins(std::string_view bytes, size_t at, const char* signature) { return part(bytes, at, 4) == signature; }

uint64_t sum(uint64_t a, uint64_t b) { return a > kMax64 - b ? kMax64 : a + b; }

struct Directory {
    size_t begin, size;
    uint64_t claimed;  // where it says that it begins: entries' places are relative to the difference
};

Directory find_directory(std::string_view file) {
    if (file.size() < kEndSize) damaged("not a zip file");
    size_t end = file.size() - kEndSize;
    if (!begins(file, end, "PK\5\6") || number(file, end + 20, 2) != 0) {  // a comment may follow it
        const size_t from = end - std::min<size_t>(end, 1 << 16);
        const size_t found = file.substr(from).rfind("PK\5\6");
        if (found == std::string_view::npos || from + found > end) damaged("not a zip file");
        end = from + found;
    }
    uint64_t size = number(file, end + 12, 4), claimed = number(file, end + 16, 4);
    size_t after = end;  // the directory's end
    if (end >= kLocator64Size && begins(file, end - kLocator64Size, "PK\6\7")) {
        const size_t locator = end - kLocator64Size;
        if (number(file, locator + 4, 4) != 0 || number(file, locator + 16, 4) > 1) damaged("a zip of several files");
        if (locator < kEnd64Size) damaged("not a zip file");
        if (begins(file, locator - kEnd64Size, "PK\6\6")) {
            after = locator - kEnd64Size;
            size = number(file, after + 40, 8);
            claimed = number(file, after + 48, 8);
        }
    }
    if (size > after) damaged("bad offset for central directory");
    if (size > kMaxDirectory) damaged("its directory is too long");
    return {after - static_cast<size_t>(size), static_cast<size_t>(size), claimed};
}

/// A record of the directory.
struct Entry {
    std::string_view name;
    bool stored;
    uint64_t packed, size, place;
    size_t length;  // of the record
};

Entry read_entry(std::string_view directory, size_t at) {
    if (directory.size() - at < kRecordSize) damaged("truncated central directory");
    if (!begins(directory, at, "PK\1\2")) damaged("bad magic number for central directory");
    if (number(directory, at + 6, 1) > kMaxVersion) damaged("of a newer format");
    const size_t name = number(directory, at + 28, 2), extra = number(directory, at + 30, 2);
    Entry entry{part(directory, at + kRecordSize, name), number(directory, at + 10, 2) == 0,
                number(directory, at + 20, 4),           number(directory, at + 24, 4),
                number(directory, at + 42, 4),           kRecordSize + name + extra + number(directory, at + 32, 2)};
    const bool is_utf8 = (number(directory, at + 8, 2) & 0x800) != 0;
    if (is_utf8 && !contract::is_utf8(entry.name)) damaged("a name is not UTF-8");
    entry.name = entry.name.substr(0, entry.name.find('\0'));

    // What does not fit 32 bits is in an extra field of ZIP64, in this order.
    std::string_view fields = part(directory, at + kRecordSize + name, extra);
    while (fields.size() >= 4) {
        const size_t length = number(fields, 2, 2);
        if (length + 4 > fields.size()) damaged("corrupt extra field");
        if (number(fields, 0, 2) == 1) {
            size_t next = 4;
            const std::string_view own = fields.substr(0, length + 4);
            const auto widen = [&](uint64_t& value) {
                value = number(own, next, 8);
                next += 8;
            };
            if (entry.size == kMax64 || entry.size == kMax32) widen(entry.size);
            if (entry.packed == kMax32) widen(entry.packed);
            if (entry.place == kMax32) widen(entry.place);
        }
        fields.remove_prefix(length + 4);
    }
    return entry;
}

/// A name without the folder that the archive has around everything.
std::string_view without_root(std::string_view name) {
    const size_t slash = name.find('/');
    return slash == std::string_view::npos ? std::string_view() : name.substr(slash + 1);
}

uint32_t crc32(std::string_view bytes) {
    uint32_t table[256];
    for (uint32_t i = 0; i < 256; ++i) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
        table[i] = value;
    }
    uint32_t crc = ~0U;
    for (const char c : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<uint8_t>(c)) & 0xff];
    return ~crc;
}

/// The contract's text and its two checksums, before it and in the directory.
void read_contract_entry(std::string_view file, const Directory& directory, const Entry& entry, size_t record,
                         Container& found) {
    if (entry.size > kMaxContract || !entry.stored) {
        fail_with(Status::kDamaged, "a contract of ", entry.size, " bytes; expected fewer, unpacked");
    }
    if (entry.place >= kMaxPlace || directory.claimed >= kMaxPlace) damaged("an entry lies outside of it");
    const int64_t place = static_cast<int64_t>(entry.place) - static_cast<int64_t>(directory.claimed) +
                          static_cast<int64_t>(directory.begin);
    if (place < 0) damaged("an entry lies outside of it");
    const size_t local = static_cast<size_t>(place);
    const size_t begin = local + kLocalSize + number(file, local + 26, 2) + number(file, local + 28, 2);
    if (begin > file.size() || entry.size > file.size() - begin) damaged("an entry lies outside of it");
    found.text = file.substr(begin, static_cast<size_t>(entry.size));
    const uint32_t crc = crc32(*found.text);
    if (number(file, local + 14, 4) != crc || number(file, record + 16, 4) != crc) {
        fail_with(Status::kDamaged, "a damaged contract (its checksum does not fit); copy or compile it again");
    }
    found.unhashed = {{begin, begin + found.text->size()}, {local + 14, local + 18}, {record + 16, record + 20}};
    std::sort(found.unhashed.begin(), found.unhashed.end(),
              [](const Span& a, const Span& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
}

}  // namespace

Container read_archive(std::string_view file) {
    const Directory directory = find_directory(file);
    const std::string_view records = file.substr(directory.begin, directory.size);
    Container found{Format::kTorchScript, std::nullopt, {}};
    std::vector<std::string_view> names;
    std::optional<Entry> own;
    size_t own_record = 0, contracts = 0;
    uint64_t packed = 0, unpacked = 0;
    bool as_they_are = true;
    for (size_t at = 0; at < records.size();) {
        const Entry entry = read_entry(records, at);
        names.push_back(entry.name);
        packed = sum(packed, entry.packed);
        if (entry.stored) {
            as_they_are = as_they_are && entry.size == entry.packed;
        } else {
            unpacked = sum(unpacked, entry.size);
        }
        const std::string_view name = without_root(entry.name);
        if (name.substr(0, 17) == "data/aotinductor/") found.format = Format::kAotInductor;
        if (name == "extra/saccade" && contracts++ == 0) {
            own = entry;
            own_record = directory.begin + at;
        }
        at += entry.length;
    }
    std::sort(names.begin(), names.end());
    if (std::adjacent_find(names.begin(), names.end()) != names.end()) {
        fail_with(Status::kDamaged, "repeated entries; expected an archive of torch");
    }
    // torch stores tensors as they are and packs only its code: what may unpack is bounded apart.
    if (packed > file.size() || unpacked > kMaxPacked || !as_they_are) {
        fail_with(Status::kDamaged, "it unpacks to more than an archive of torch does; it is not loaded");
    }
    if (contracts > 1) fail_with(Status::kDamaged, "two contracts; compile the program again");
    if (own) read_contract_entry(file, directory, *own, own_record, found);
    return found;
}

}  // namespace saccade::contract

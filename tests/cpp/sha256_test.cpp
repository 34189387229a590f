#include "sha256.h"

#include <string>
#include <utility>
#include <vector>

#include "check.h"

using namespace saccade::contract;

namespace {

std::string hash(std::string_view text, Compress compress, size_t step = ~size_t{0}) {
    Sha256 hash(compress);
    while (!text.empty()) {
        const std::string_view piece = text.substr(0, step);
        hash.update(piece);
        text.remove_prefix(piece.size());
    }
    return hash.hex();
}

std::string noise(size_t count) {
    std::string out(count, '\0');
    for (size_t i = 0; i < count; ++i) out[i] = static_cast<char>(i * 37 + i / 256);
    return out;
}

}  // namespace

TEST(hashes_of_fips_180) {
    const std::vector<std::pair<std::string, std::string>> known = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {std::string(1'000'000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"}};
    for (const auto& [text, wanted] : known) {
        HOLDS(hash(text, compress_plain) == wanted);
        HOLDS(hash(text, best_compress()) == wanted);
    }
}

// Python's hashlib.sha256 of bytes((i * 37 + i // 256) % 256 for i in range(n)), where the padding changes its shape.
TEST(hashes_at_the_edges_of_a_block) {
    const std::vector<std::pair<size_t, std::string>> known = {
        {1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
        {55, "3b453d648ef01a1ddbc30ef4cee00724bb53fe40b38a08c04cfd6009235c09bf"},
        {56, "a5f1426b20451b15d1c92aef1b27b36b038d13a77874409d73889c02fa1ca778"},
        {57, "d5052dbc708201bdd59ff9892349c602ac19a97edf1f857fecaa87542c332187"},
        {63, "b728e1a944ecf6d47629afefa1656cbe11fd7bf23145fcba144af99ea5ec14f5"},
        {64, "17ff3615c8f2285b470ee569e15b37503eae49e36882b63ccc1aceb055d7f082"},
        {65, "f747a3be9b4a85941804d77e333783b22f194e6252b37570fd51bc2bc7886a57"},
        {119, "82de88568c056a67ab49f9f8408249a8ff036b4294485b27d1f5d5de43d90759"},
        {120, "e207dc7fa98501df87f645ccd4d9864be6d3f8f96417ff84e54eb1fa40452b98"},
        {128, "44d942056dd7041cfe6a1bbcb1a1f3afc385bb951b5efd787e71f514f29e1ddc"},
        {1000, "df18865bf41fd95f42241603b7e2b99f8988951ef3f0053fe76100e0cee4f4ca"}};
    for (const auto& [length, wanted] : known) HOLDS(hash(noise(length), compress_plain) == wanted);
}

TEST(every_length_and_every_cut_gives_the_same_hash) {
    const std::string text = noise(300);
    for (size_t length = 0; length <= text.size(); ++length) {
        const std::string_view part = std::string_view(text).substr(0, length);
        const std::string whole = hash(part, compress_plain);
        HOLDS(hash(part, best_compress()) == whole);
        for (const size_t step : {1, 7, 63, 64, 65}) HOLDS(hash(part, best_compress(), step) == whole);
    }
    HOLDS(hash(noise(300), compress_plain) != hash(noise(299), compress_plain));
}

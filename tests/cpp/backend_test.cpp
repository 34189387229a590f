#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <new>
#include <string>
#include <thread>

#include "../../csrc/runtime/guard.h"
#include "../../csrc/runtime/library.h"
#include "../../csrc/runtime/loading.h"
#include "../../csrc/runtime/onnxruntime/watchdog.h"
#include "check.h"

using namespace saccade;

namespace {

/// Sets an environment variable for as long as it lives; null unsets it.
class Variable {
  public:
    Variable(const char* name, const char* value) : name_(name) {
        if (const char* before = std::getenv(name)) before_ = before;
        set(value);
    }
    ~Variable() { set(before_.empty() ? nullptr : before_.c_str()); }

  private:
    void set(const char* value) { value != nullptr ? setenv(name_, value, 1) : unsetenv(name_); }

    const char* name_;
    std::string before_;
};

/// The status and message of loading that backend, or "loaded".
std::string loading(const std::string& name, const std::string& folder = BACKENDS) {
    try {
        const Backend backend(name, folder);
        return "loaded";
    } catch (const Error& error) {
        return std::to_string(static_cast<int>(error.status())) + " " + error.what();
    }
}

std::string model_of(const std::string& name) {
    const Backend backend(name, BACKENDS);
    try {
        const BackendModel model(backend, saccade_load_request{});
        return "loaded";
    } catch (const Error& error) {
        return std::to_string(static_cast<int>(error.status())) + " " + error.what();
    } catch (const std::bad_alloc&) {
        return "bad_alloc";
    }
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST(a_backend_is_looked_for_in_its_folder) {
    HOLDS(has(loading("missing"), "3 load: no backend libsaccade_missing.so in " BACKENDS "; install it"));
    HOLDS(has(loading("fake", "/nowhere"), "3 load: no backend libsaccade_fake.so in /nowhere"));
    for (const char* name : {"", "../broken/silent", "fake/..", "Fake", "fake\n", "a.b"}) {
        HOLDS(has(loading(name), "1 load: backend '"));
        HOLDS(!has(loading(name), "\n"));
    }
    const Variable environment("SACCADE_BACKENDS", BACKENDS);
    HOLDS(has(loading("silent", ""), "loaded"));
    HOLDS(has(loading("silent", "/nowhere"), "in /nowhere"));  // what is asked for goes first
}

TEST(without_a_folder_it_lies_beside_the_program) {
    const Variable environment("SACCADE_BACKENDS", nullptr);
    const auto folders = backend_folders("");
    EQUAL(folders.size(), size_t{4});
    HOLDS(folders[0] == folder_of(reinterpret_cast<const void*>(&loading)));
    HOLDS(folders[0] == PROGRAM_FOLDER);
    HOLDS(folders[2] == folders[0] + "/../lib/saccade");
    const Variable empty("SACCADE_BACKENDS", "");
    EQUAL(backend_folders("").size(), size_t{4});
}

TEST(what_is_no_backend_is_refused) {
    HOLDS(has(loading("symbolless"), "libsaccade_symbolless.so is no backend of Saccade: it gives no saccade_backend"));
    HOLDS(has(loading("empty"), "is no backend of Saccade"));
    HOLDS(has(loading("later"), "is of version 3, this library needs version 2; install both from one build"));
    HOLDS(has(loading("renamed"), "is not the backend renamed: its table has another"));
    HOLDS(has(loading("half"), "is not the backend half: its table has null pointers"));
    const std::string file = std::string(BACKENDS) + "/libsaccade_text.so";
    std::ofstream(file) << "no library";
    HOLDS(has(loading("text"), "libsaccade_text.so cannot be loaded: "));
    for (const char* name : {"symbolless", "empty", "later", "renamed", "half", "text"}) {
        HOLDS(has(loading(name), "3 load: "));
    }
}

TEST(a_backends_codes_become_errors_of_one_line) {
    const std::string said = model_of("talkative");
    HOLDS(has(said, "2 xxxx xxx"));
    EQUAL(said.size(), 2 + size_t{SACCADE_MESSAGE_SIZE});
    HOLDS(model_of("silent") == std::string("4 load: backend silent fails and gives no reason"));
    HOLDS(model_of("starving") == std::string("bad_alloc"));
}

TEST(messages_are_cut_at_whole_characters) {
    HOLDS(one_line(" a\n\n\tb\x7f\r ", 100) == std::string("a b"));
    HOLDS(one_line("äöü", 5) == std::string("äö"));
    HOLDS(one_line("äöü", 6) == std::string("äöü"));
    HOLDS(one_line("a b", 2) == std::string("a"));
    HOLDS(one_line("ä", 1) == std::string());
    char message[4] = "???";
    write_message("abcdef", message, sizeof(message));
    HOLDS(std::string(message) == std::string("abc"));
    write_message("abcdef", message, 0);
    write_message("abcdef", nullptr, 4);
    EQUAL(guarded(message, sizeof(message), [] { throw std::bad_alloc(); }), int{SACCADE_BACKEND_NO_MEMORY});
    EQUAL(guarded(message, sizeof(message), [] { throw 1; }), int{SACCADE_BACKEND_FAILED});
    HOLDS(std::string(message) == std::string());
    EQUAL(guarded(message, sizeof(message), [] { fail_with(Status::kLate, "no"); }), int{SACCADE_BACKEND_LATE});
    HOLDS(std::string(message) == std::string("no"));
}

TEST(a_watchdog_barks_at_its_deadline_and_never_after) {
    using namespace std::chrono_literals;
    std::atomic<int> barked{0};
    Watchdog watchdog([&] { ++barked; });
    const auto now = [] { return Watchdog::Clock::now(); };
    for (int i = 0; i < 2000; ++i) {  // deadlines that are met, near and far in turn
        watchdog.arm(now() + (i % 2 == 0 ? 1h : 10s));
        HOLDS(!watchdog.disarm());
    }
    EQUAL(barked.load(), 0);
    for (int i = 1; i <= 5; ++i) {
        watchdog.arm(now() + 1h);  // it sleeps for an hour, and is woken for a nearer deadline
        HOLDS(!watchdog.disarm());
        watchdog.arm(now() + 5ms);
        const auto patience = now() + 10s;
        while (barked < i && now() < patience) std::this_thread::yield();
        EQUAL(barked.load(), i);
        HOLDS(watchdog.disarm());
    }
    for (int i = 0; i < 200; ++i) {  // deadlines that pass just then: whatever it was, it is over after disarm
        watchdog.arm(now() + std::chrono::microseconds(i));
        std::this_thread::sleep_for(100us);
        const int before = barked;
        const bool passed = watchdog.disarm();
        const int after = barked;
        HOLDS(passed || after == before);
        std::this_thread::sleep_for(100us);
        EQUAL(barked.load(), after);
    }
    watchdog.arm(now() + 1h);  // and may end while it waits
}

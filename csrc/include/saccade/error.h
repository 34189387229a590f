// The one exception that the library throws on purpose.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace saccade {

/// Whose fault it is; the same numbers as saccade_status in saccade.h.
enum class Status {
    kInvalid = 1,      // the request is wrong
    kDamaged = 2,      // the file is no program, is cut or was changed, or does not do what its contract says
    kUnavailable = 3,  // a backend, a runtime's library, a device or a file is not there
    kFailed = 4,       // the runtime failed
    kLate = 5          // the deadline came first
};

/// A request that cannot be met. The message is one line: the place, what was expected, what came, what to do.
class Error : public std::invalid_argument {
  public:
    explicit Error(const std::string& message, Status status = Status::kInvalid)
        : std::invalid_argument(message), status_(status) {}
    Status status() const { return status_; }

  private:
    Status status_;
};

/// Throws an Error whose message is the parts in order, as an output stream writes them.
template <typename... Parts>
[[noreturn]] void fail_with(Status status, const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    throw Error(text.str(), status);
}

template <typename... Parts>
[[noreturn]] void fail(const Parts&... parts) {
    fail_with(Status::kInvalid, parts...);
}

}  // namespace saccade

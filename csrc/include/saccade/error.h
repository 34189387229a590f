// The one exception that the library throws on purpose.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace saccade {

/// A request that cannot be met. The message is one line: the place, what was expected, what came, what to do.
class Error : public std::invalid_argument {
  public:
    using std::invalid_argument::invalid_argument;
};

/// Throws an Error whose message is the parts in order, as an output stream writes them.
template <typename... Parts>
[[noreturn]] void fail(const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    throw Error(text.str());
}

}  // namespace saccade

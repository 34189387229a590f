// A file with a path that lies on no disk, for a reader that takes paths alone.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "saccade/error.h"

/// A copy of bytes, readable by this process through `path` for as long as the object lives. Nobody else can replace
/// it between being checked and being read, as a file in a folder could be. Linux alone. Throws Error.
class FileInMemory {
  public:
    FileInMemory(const void* data, size_t size) : file_(memfd_create("program", MFD_CLOEXEC)) {
        const char* rest = static_cast<const char*>(data);
        while (file_ >= 0 && size > 0) {
            const ssize_t written = write(file_, rest, size);
            if (written < 0 && errno == EINTR) continue;
            if (written <= 0) break;
            rest += written;
            size -= static_cast<size_t>(written);
        }
        if (file_ >= 0 && size == 0) return;
        const std::string reason = std::strerror(errno);
        if (file_ >= 0) close(file_);
        saccade::fail_with(saccade::Status::kFailed, "load: no copy of the program can be made in memory (", reason,
                           "); load it from a file");
    }
    ~FileInMemory() { close(file_); }
    FileInMemory(const FileInMemory&) = delete;
    FileInMemory& operator=(const FileInMemory&) = delete;

    std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

  private:
    int file_;
};

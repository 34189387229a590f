// The line itself: frame after frame, each with its verdict in its time.
#pragma once

#include "options.h"

/// Inspects all frames; returns the exit code of kHelp. Throws saccade::Error, UsageError, std::runtime_error where
/// nothing can be inspected.
int inspect(const Options& options);

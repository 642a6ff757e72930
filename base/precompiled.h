// What nearly every file of the house reads, compiled once for all of them (CMakeLists.txt, keelson_precompile). It is
// no substitute for includes: with -DKEELSON_PRECOMPILE=OFF every file stands on its own.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/log.h"
#include "base/status.h"
#include "base/sync.h"
#include "base/task.h"

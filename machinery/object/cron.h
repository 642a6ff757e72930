// Cron schedules as CronJobs write them: five fields, names of months and days, descriptors (@daily, @every 1h30m).
// Error texts are the original's (robfig/cron v3). Values; thread-safe. Not its job: time zones, the next moment.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace machinery::object {

struct CronSchedule {
  // A bit per allowed value: minute 0-59, hour 0-23, day 1-31, month 1-12, weekday 0-6 (0 is Sunday).
  uint64_t minutes = 0, hours = 0, days = 0, months = 0, weekdays = 0;
  // A day matches when both day fields match if one of them was written as a star, else when either does.
  bool star_day = false, star_weekday = false;
  int64_t every_seconds = 0;  // @every: at least 1, all else is empty
};
base::Result<CronSchedule> ParseCron(std::string_view text);

}  // namespace machinery::object

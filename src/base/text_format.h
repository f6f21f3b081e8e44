#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace verbatim {

// Numbers for people: three significant digits with a unit. For machines, print the plain number instead.

// "0 B", "999 B", "1.50 KiB", "12.3 GiB": powers of 1024.
[[nodiscard]] std::string format_bytes(uint64_t bytes);
// "0", "999", "1.23 k", "12.3 M", "1.50 G": powers of 1000.
[[nodiscard]] std::string format_count(double count);
// "1.23 MB/s": powers of 1000, as disks and networks are sold and as papers report.
[[nodiscard]] std::string format_rate(double bytes_per_second);
// "850 ms", "12.3 s", "4 min 05 s", "3 h 07 min", "2 d 04 h"; "?" when negative or not finite.
[[nodiscard]] std::string format_duration(double seconds);
// ISO 8601 in UTC, "2026-01-31T23:59:59Z", from seconds since 1970.
[[nodiscard]] std::string format_time_utc(int64_t seconds);

// Any byte string as one line of printable ASCII in double quotes, for messages: quotes and backslashes are escaped,
// other bytes become \n, \t, \r or \xE2. Longer strings than `max_bytes` are cut with "..." behind the quote.
[[nodiscard]] std::string quote_bytes(std::string_view bytes, size_t max_bytes = 80);

}  // namespace verbatim

#include "base/text_format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

namespace verbatim {
namespace {

TEST(format_bytes, uses_powers_of_1024_and_three_digits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.00 KiB");
  EXPECT_EQ(format_bytes(1536), "1.50 KiB");
  EXPECT_EQ(format_bytes(12 * 1024 + 300), "12.3 KiB");
  EXPECT_EQ(format_bytes(123u << 20), "123 MiB");
  EXPECT_EQ(format_bytes(1024 * 1024 - 1), "1.00 MiB");
  EXPECT_EQ(format_bytes(std::numeric_limits<uint64_t>::max()), "16.0 EiB");
}

TEST(format_count, uses_powers_of_1000) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1000), "1.00 k");
  EXPECT_EQ(format_count(1'234'567), "1.23 M");
  EXPECT_EQ(format_count(999'999), "1.00 M");
  EXPECT_EQ(format_count(12'345'678'901), "12.3 G");
  EXPECT_EQ(format_count(-1500), "-1.50 k");
  EXPECT_EQ(format_count(std::nan("")), "?");
}

TEST(format_rate, uses_decimal_units_per_second) {
  EXPECT_EQ(format_rate(1'230'000), "1.23 MB/s");
  EXPECT_EQ(format_rate(99.96e9), "100 GB/s");
  EXPECT_EQ(format_rate(0), "0 B/s");
  EXPECT_EQ(format_rate(std::numeric_limits<double>::infinity()), "? B/s");
}

TEST(format_duration, chooses_the_two_largest_units) {
  EXPECT_EQ(format_duration(0), "0 ms");
  EXPECT_EQ(format_duration(0.85), "850 ms");
  EXPECT_EQ(format_duration(0.9999), "1.0 s");
  EXPECT_EQ(format_duration(12.34), "12.3 s");
  EXPECT_EQ(format_duration(59.99), "1 min 00 s");
  EXPECT_EQ(format_duration(245), "4 min 05 s");
  EXPECT_EQ(format_duration(3599.9), "1 h 00 min");
  EXPECT_EQ(format_duration(3 * 3600 + 7 * 60 + 59), "3 h 07 min");
  EXPECT_EQ(format_duration(2 * 86400 + 4 * 3600), "2 d 04 h");
  EXPECT_EQ(format_duration(-1), "?");
  EXPECT_EQ(format_duration(std::nan("")), "?");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "?");
}

TEST(format_time_utc, writes_iso_8601) {
  EXPECT_EQ(format_time_utc(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(format_time_utc(951'782'399), "2000-02-28T23:59:59Z");
  EXPECT_EQ(format_time_utc(1'709'164'800), "2024-02-29T00:00:00Z");
  EXPECT_EQ(format_time_utc(-1), "1969-12-31T23:59:59Z");
}

TEST(quote_bytes, makes_any_bytes_printable) {
  EXPECT_EQ(quote_bytes(""), "\"\"");
  EXPECT_EQ(quote_bytes("plain"), "\"plain\"");
  EXPECT_EQ(quote_bytes("a\"b\\c"), "\"a\\\"b\\\\c\"");
  EXPECT_EQ(quote_bytes(std::string_view("\n\t\r\0\x7f\xe2", 6)), "\"\\n\\t\\r\\x00\\x7F\\xE2\"");
  EXPECT_EQ(quote_bytes("abcdef", 3), "\"abc\"...");
  EXPECT_EQ(quote_bytes("abc", 3), "\"abc\"");
}

}  // namespace
}  // namespace verbatim

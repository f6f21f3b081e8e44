#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

class Settings;

// What a setting is, said once: from it come the TOML reader, overrides, --help, saved files and the reference page.
struct SettingInfo {
  std::string_view help;                  // one line, no full stop needed
  std::string_view unit = "";             // "bytes", "seconds", ...; empty for plain numbers and words
  std::vector<std::string> choices = {};  // allowed words of a string setting; empty for any
  double minimum = -1e300;                // inclusive bounds of a number
  double maximum = 1e300;
};

// Walks the settings of a component in order. A reader changes the referenced values, a writer only looks.
class SettingsVisitor {
 public:
  virtual ~SettingsVisitor() = default;
  virtual void setting(std::string_view name, bool& value, const SettingInfo& info) = 0;
  virtual void setting(std::string_view name, int64_t& value, const SettingInfo& info) = 0;
  virtual void setting(std::string_view name, double& value, const SettingInfo& info) = 0;
  virtual void setting(std::string_view name, std::string& value, const SettingInfo& info) = 0;
  virtual void setting(std::string_view name, std::vector<int64_t>& value, const SettingInfo& info) = 0;
  virtual void setting(std::string_view name, std::vector<double>& value, const SettingInfo& info) = 0;
  virtual void setting(std::string_view name, std::vector<std::string>& value, const SettingInfo& info) = 0;
  // A nested table.
  virtual void section(std::string_view name, Settings& value, std::string_view help) = 0;
};

// A group of settings. visit() names each member once. A member may depend on one visited before it (`kind`, say): what
// is not visited has no effect, and a file that sets it is refused.
class Settings {
 public:
  virtual ~Settings() = default;
  virtual void visit(SettingsVisitor& visitor) = 0;
};

}  // namespace verbatim

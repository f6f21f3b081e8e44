#include "model/family.h"

namespace verbatim {

namespace {

struct FamilyName : Settings {
  explicit FamilyName(std::string& family) : name(family) {}
  std::string& name;
  void visit(SettingsVisitor& visitor) override {
    SettingInfo info{.help = "how text becomes vectors and vectors text"};
    for (const Family& family : all_families()) info.choices.emplace_back(family.name);
    visitor.setting("family", name, info);
  }
};

}  // namespace

void ModelSettings::visit(SettingsVisitor& visitor) {
  const std::string before = family;
  FamilyName name(family);
  visitor.section("model", name, "the family of encoder and decoder");
  if (encoder == nullptr || family != before) {
    encoder = find_family(family).encoder_settings();
    decoder = find_family(family).decoder_settings();
  }
  visitor.section("encoder", *encoder, "text to vectors");
  visitor.section("backbone", backbone, "vectors to vectors");
  visitor.section("decoder", *decoder, "vectors to text");
}

}  // namespace verbatim

#include "train/checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "model/model_folder.h"

namespace verbatim {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr std::string_view kUnfinished = ".unfinished";
constexpr std::string_view kDamaged = ".damaged";
constexpr const char* kOwnDigest = "state_sha256";

std::string digest_of(const fs::path& file) {
  const MappedFile mapped(file, MappedFile::Access::kSequential);
  return sha256_hex(mapped.text());
}

// What a checkpoint needs to be used: weights (maybe sharded), moments, settings, tokenizer. The card is for people,
// who may edit it.
std::vector<fs::path> needed_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().filename() != "README.md") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// state.json carries the checksums of the other files and, last, its own over everything before.
json read_checked_state(const fs::path& folder) {
  const fs::path file = folder / "state.json";
  json object = json::parse(read_file(file, 1 << 20));
  const auto own = object.at(kOwnDigest).get<std::string>();
  object.erase(kOwnDigest);
  if (sha256_hex(object.dump()) != own)
    throw_input("{}: its checksum does not hold; the file is damaged", file.string());
  for (const auto& [name, digest] : object.at("sha256").items()) {
    const fs::path other = folder / fs::path(name).filename();
    if (digest_of(other) != digest.get<std::string>()) {
      throw_input("{}: its checksum is not the one in state.json; the file is damaged", other.string());
    }
  }
  return object;
}

RunState parse_state(const json& object) {
  RunState state;
  state.step = object.at("step").get<int64_t>();
  state.data = {.epoch = object.at("epoch").get<uint64_t>(), .index = object.at("index").get<uint64_t>()};
  state.sample_generator = object.at("sample_generator").get<std::string>();
  state.seconds = object.at("seconds").get<double>();
  state.bytes = object.at("bytes").get<int64_t>();
  state.average_bits = object.at("average_bits").get<double>();
  state.best_average_bits = object.at("best_average_bits").get<double>();
  state.best_eval_bits = object.at("best_eval_bits").get<double>();
  // Not in runs of before these were kept.
  state.flops = object.value("flops", 0.0);
  state.best_step = object.value("best_step", int64_t{0});
  state.best_step_bits = object.value("best_step_bits", 0.0);
  state.data_bytes = object.at("data_bytes").get<uint64_t>();
  return state;
}

}  // namespace

std::string describe_new_parameters(const std::vector<std::string>& names, const fs::path& source) {
  return fmt::format("the settings switch on what the model in {} does not have: {} start at their initial values",
                     source.string(), fmt::join(names, ", "));
}

CheckpointFolder::CheckpointFolder(fs::path run) : run_(std::move(run)) {}

fs::path CheckpointFolder::folder_of(int64_t step) const { return run_ / "checkpoints" / fmt::format("{:010}", step); }

std::vector<int64_t> CheckpointFolder::steps() const {
  std::vector<int64_t> steps;
  if (!fs::is_directory(run_ / "checkpoints")) return steps;
  for (const auto& entry : fs::directory_iterator(run_ / "checkpoints")) {
    const std::string name = entry.path().filename().string();
    if (name.size() == 10 && std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      steps.push_back(std::stoll(name));
    }
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

void CheckpointFolder::save(LanguageModel& model, const Optimizer& optimizer, const RunState& state,
                            const std::string& card) {
  const fs::path target = folder_of(state.step);
  fs::path unfinished = target;
  unfinished += kUnfinished;
  fs::remove_all(unfinished);
  fs::create_directories(unfinished);
  save_model(model, unfinished, card);
  TensorBundle moments;
  optimizer.save(moments);
  write_safetensors(unfinished / "optimizer.safetensors", moments.views());
  json checksums = json::object();
  for (const fs::path& file : needed_files(unfinished)) checksums[file.filename().string()] = digest_of(file);
  json object = {{"step", state.step},
                 {"epoch", state.data.epoch},
                 {"index", state.data.index},
                 {"optimizer_steps", optimizer.steps()},
                 {"sample_generator", state.sample_generator},
                 {"seconds", state.seconds},
                 {"bytes", state.bytes},
                 {"flops", state.flops},
                 {"average_bits", state.average_bits},
                 {"best_average_bits", state.best_average_bits},
                 {"best_eval_bits", state.best_eval_bits},
                 {"best_step", state.best_step},
                 {"best_step_bits", state.best_step_bits},
                 {"data_bytes", state.data_bytes},
                 {"sha256", checksums}};
  object[kOwnDigest] = sha256_hex(object.dump());
  write_file_atomically(unfinished / "state.json", object.dump(2) + "\n");
  sync_folder(unfinished);
  // A run that went back to an older checkpoint may meet its old self here.
  fs::remove_all(target);
  fs::rename(unfinished, target);
  sync_folder(run_ / "checkpoints");
  if (state.best_step > 0) {
    write_file_atomically(run_ / "best", folder_of(state.best_step).filename().string() + "\n");
  }
  write_file_atomically(run_ / "latest", target.filename().string() + "\n");
}

std::optional<RunState> CheckpointFolder::load(LanguageModel& model, Optimizer& optimizer,
                                               std::vector<std::string>& warnings) const {
  std::vector<int64_t> candidates = steps();
  std::reverse(candidates.begin(), candidates.end());
  for (const int64_t step : candidates) {
    const fs::path folder = folder_of(step);
    try {
      const json object = read_checked_state(folder);
      const RunState state = parse_state(object);
      const std::vector<std::string> added = load_weights(model, folder);
      const fs::path moments = folder / "optimizer.safetensors";
      optimizer.load(SafetensorsReader::open(moments), moments.string(), {added.begin(), added.end()});
      optimizer.set_steps(object.at("optimizer_steps").get<int64_t>());
      if (!added.empty()) warnings.push_back(describe_new_parameters(added, folder));
      return state;
    } catch (const json::exception& error) {
      warnings.push_back(fmt::format("{}: not usable ({}); trying the checkpoint before",
                                     (folder / "state.json").string(), error.what()));
    } catch (const InputError& error) {
      warnings.push_back(fmt::format("{}; trying the checkpoint before", error.what()));
    }
  }
  if (!candidates.empty()) {
    throw_input(
        "{}: none of the {} checkpoints can be read ({}); choose another --out folder to start anew, or restore one",
        (run_ / "checkpoints").string(), candidates.size(), warnings.back());
  }
  return std::nullopt;
}

void CheckpointFolder::set_aside_after(int64_t step) const {
  const std::vector<int64_t> all = steps();
  if (all.empty() || all.back() <= step) return;
  // First the name that readers follow, so that it never leads nowhere.
  write_file_atomically(run_ / "latest", folder_of(step).filename().string() + "\n");
  for (const int64_t later : all) {
    if (later <= step) continue;
    fs::path aside = folder_of(later);
    aside += kDamaged;
    fs::remove_all(aside);
    fs::rename(folder_of(later), aside);
  }
}

void CheckpointFolder::prune(int64_t keep, int64_t keep_every, int64_t best_step) const {
  const std::vector<int64_t> all = steps();
  for (size_t i = 0; i + static_cast<size_t>(keep) < all.size(); ++i) {
    if ((keep_every > 0 && all[i] % keep_every == 0) || all[i] == best_step) continue;
    // The rename makes the removal atomic: a half-removed folder never looks like a checkpoint.
    const fs::path folder = folder_of(all[i]);
    fs::path leaving = folder;
    leaving += kUnfinished;
    fs::remove_all(leaving);
    fs::rename(folder, leaving);
    fs::remove_all(leaving);
  }
}

void CheckpointFolder::remove_leftovers() const {
  if (!fs::is_directory(run_ / "checkpoints")) return;
  for (const auto& entry : fs::directory_iterator(run_ / "checkpoints")) {
    if (entry.path().extension() == kUnfinished) fs::remove_all(entry.path());
  }
}

}  // namespace verbatim

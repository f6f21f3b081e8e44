#include "formats/pickle_value.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <vector>

#include "base/error.h"

namespace verbatim {

using pickle::pointer_in;

namespace {

struct Extent {
  bool is_open = true;    // its items are being looked at
  uint64_t unfolded = 1;  // values, each counted once for every way to it
  size_t depth = 1;       // containers inside each other, this one included
};
struct Frame {
  Extent* extent;
  const PickleSequence* sequence;  // one of the two is given
  const PickleDictionary* dictionary;
  size_t next = 0;

  [[nodiscard]] const PickleValue* next_item() {
    const size_t size = sequence != nullptr ? sequence->items.size() : dictionary->entries.size();
    if (next == size) return nullptr;
    const size_t i = next++;
    return sequence != nullptr ? &sequence->items[i] : &dictionary->entries[i].second;
  }
};

}  // namespace

// Without recursion, for the depth is the file's choice.
void pickle::check_extent(const PickleValue& root, std::string_view name) {
  std::unordered_map<const void*, Extent> extents;
  std::vector<Frame> path;
  const auto check_depth = [&](size_t depth) {
    if (depth > PickleDocument::kMaxDepth) {
      throw_input("{}: expected at most {} containers inside each other, got more", name, PickleDocument::kMaxDepth);
    }
  };
  // Adds an item to the container that is open; its own depth is known.
  const auto add = [&](uint64_t unfolded, size_t depth) {
    if (path.empty()) return;
    Extent& extent = *path.back().extent;
    extent.unfolded += unfolded;
    extent.depth = std::max(extent.depth, depth + 1);
    if (extent.unfolded > PickleDocument::kMaxUnfolded) {
      throw_input("{}: expected at most {} values, got more by repetition", name, PickleDocument::kMaxUnfolded);
    }
    check_depth(path.size() + depth);
  };
  const auto visit = [&](const PickleValue& value) {
    const auto* const sequence = pointer_in<PickleSequence>(value);
    const auto* const dictionary = pointer_in<PickleDictionary>(value);
    if (sequence == nullptr && dictionary == nullptr) return add(1, 0);
    const void* const node = sequence != nullptr ? static_cast<const void*>(sequence) : dictionary;
    const auto [found, is_new] = extents.try_emplace(node);
    Extent& extent = found->second;
    if (!is_new) {
      if (extent.is_open) {
        throw_input("{}: expected plain data, got a {} that contains itself", name, type_name(value));
      }
      return add(extent.unfolded, extent.depth);
    }
    path.push_back({.extent = &extent, .sequence = sequence, .dictionary = dictionary});
    check_depth(path.size());
  };
  visit(root);
  while (!path.empty()) {
    if (const PickleValue* const item = path.back().next_item()) {
      visit(*item);
      continue;
    }
    Extent& finished = *path.back().extent;
    finished.is_open = false;
    path.pop_back();
    add(finished.unfolded, finished.depth);
  }
}

std::string_view type_name(const PickleValue& value) {
  if (const auto* const sequence = pointer_in<PickleSequence>(value)) {
    constexpr std::array<std::string_view, 3> kNames = {"list", "tuple", "set"};
    return kNames[static_cast<size_t>(sequence->kind)];
  }
  if (const auto* const dictionary = pointer_in<PickleDictionary>(value)) {
    constexpr std::array<std::string_view, 3> kNames = {"dict", "OrderedDict", "Counter"};
    return kNames[static_cast<size_t>(dictionary->kind)];
  }
  if (const auto* const name = pointer_in<PickleName>(value)) return name->is_object ? "an object" : "a name";
  constexpr std::array<std::string_view, 11> kNames = {"None", "bool", "int",     "float",  "str", "bytes",
                                                       "",     "",     "storage", "tensor", ""};
  return kNames[value.index()];
}

const PickleValue* PickleDictionary::find(Key key) const {
  const auto found = places_.find(key);
  return found == places_.end() ? nullptr : &entries[found->second].second;
}

void PickleDictionary::set(Key key, PickleValue value) {
  const auto [found, is_new] = places_.try_emplace(key, entries.size());
  if (is_new) {
    entries.emplace_back(key, value);
  } else {
    entries[found->second].second = value;
  }
}

}  // namespace verbatim

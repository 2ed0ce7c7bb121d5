// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/overlap.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>

#include "segmentation/data/dataset.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

bool same_bytes(const Path& a, const Path& b, uintmax_t size) {
  std::ifstream x(a, std::ios::binary), y(b, std::ios::binary);
  if (!x || !y) return false;
  const auto same_from = [&](uintmax_t byte) {
    for (std::ifstream* file : {&x, &y}) {
      file->clear();
      file->seekg(static_cast<std::streamoff>(byte));
    }
    using Each = std::istreambuf_iterator<char>;
    return std::equal(Each(x), Each(), Each(y), Each());
  };
  return same_from(size / 2) && same_from(0);  // heads differ soonest in the middle
}

// 0 of what cannot be read; whoever reads it says so.
uintmax_t size_of(const Path& path) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  return error ? 0 : size;
}

// Cases by the size of the image that tells them.
class ImageIndex {
 public:
  explicit ImageIndex(const std::vector<CaseFiles>& cases) {
    for (const CaseFiles& c : cases)
      if (const uintmax_t size = size_of(c.images.front()); size > 0) by_size_.emplace(size, &c);
  }
  // The case whose image one of these is.
  const CaseFiles* find(const CaseFiles& other) const {
    for (const Path& image : other.images) {
      const uintmax_t size = size_of(image);
      const auto [begin, end] = by_size_.equal_range(size);
      for (auto it = begin; it != end; ++it) {
        const Path& own = it->second->images.front();
        if (fs::equivalent(own, image) || same_bytes(own, image, size)) return it->second;
      }
    }
    return nullptr;
  }

 private:
  std::multimap<uintmax_t, const CaseFiles*> by_size_{};
};

// Cases that are whole; none of phantoms, which are made.
std::vector<CaseFiles> cases_of(const StudyData& data) {
  std::vector<std::string> faults;
  return data.phantom ? std::vector<CaseFiles>{} : open_raw_dataset(data.raw, &faults).training;
}

// Those of a folder of their own.
std::vector<CaseFiles> held_out_images(const StudyConfig& config) {
  if (config.held_out.images.empty()) return {};
  std::vector<std::string> faults;
  const DatasetDescription description = config.private_data.phantom
                                             ? brats_description("")
                                             : open_raw_dataset(config.private_data.raw, &faults).description;
  return find_inputs(config.held_out.images, description.channel_names, &faults);
}

// A sentence about the first case of both, or nothing.
std::string seen_before(const std::vector<CaseFiles>& held_out, const std::vector<CaseFiles>& learnt, const char* set) {
  const ImageIndex index(held_out);
  for (const CaseFiles& c : learnt)
    if (const CaseFiles* same = index.find(c))
      return sentence("held-out case ", same->id, " (", same->images.front().string(), ") is case ", c.id, " of the ",
                      set, " set (", c.images.front().string(),
                      "): a system that is tested on what it learnt from says nothing");
  return "";
}

void require_unseen(const std::vector<CaseFiles>& held_out, const std::vector<CaseFiles>& learnt, const char* set) {
  if (const std::string fault = seen_before(held_out, learnt, set); !fault.empty())
    fail(Fault::input, fault,
         ". Hold out cases that are in neither set, or name them as \"cases\" of the private set, ",
         "which then leave it");
}

}  // namespace

std::vector<std::string> require_sets_apart(const StudyConfig& config) {
  const std::vector<CaseFiles> public_cases = cases_of(config.public_data), apart = held_out_images(config);
  std::vector<CaseFiles> private_cases = cases_of(config.private_data), named;
  std::erase_if(private_cases, [&](const CaseFiles& c) {
    const auto& names = config.held_out.cases;
    return std::binary_search(names.begin(), names.end(), c.id) && (named.push_back(c), true);
  });
  require_unseen(apart, public_cases, "public");
  require_unseen(named, public_cases, "public");
  require_unseen(apart, private_cases, "private");
  std::vector<std::string> notes;
  if (const std::string copied = seen_before(named, private_cases, "private"); !copied.empty()) notes.push_back(copied);

  const std::string but = "; what fine-tuning gains is then not what pre-training on other data gains";
  const auto &public_heads = config.public_data.phantom, &private_heads = config.private_data.phantom;
  if (public_heads && private_heads && public_heads->seed == private_heads->seed)
    notes.push_back("the public and the private phantoms have one seed, so they are the same heads" + but);
  const ImageIndex index(private_cases);
  const auto shared =
      std::count_if(public_cases.begin(), public_cases.end(), [&](const CaseFiles& c) { return index.find(c); });
  if (shared > 0) notes.push_back(sentence(shared, " cases of the private set are in the public one too", but));
  return notes;
}

}  // namespace metvox

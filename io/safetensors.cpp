// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "io/json.h"

namespace metvox {
namespace {

constexpr std::pair<std::string_view, DType> kDTypes[] = {
    {"F64", DType::f64}, {"F32", DType::f32}, {"F16", DType::f16}, {"BF16", DType::bf16},
    {"U8", DType::u8},   {"I8", DType::i8},   {"I16", DType::i16}, {"I32", DType::i32}};

std::string_view file_name_of(DType dtype) {
  return std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const auto& pair) { return pair.second == dtype; })
      ->first;
}

struct Entry {
  std::string name;
  Spec spec;
  uint64_t begin = 0, end = 0;  // bytes after the header
};

struct Contents {
  std::vector<Entry> entries;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
};

template <class... Parts>
[[noreturn]] void fail_damaged(const Path& path, const Parts&... parts) {
  fail(Fault::input, path.string(), ": is damaged or no safetensors file: ", parts...,
       "; put back a whole copy, or have it written anew");
}

std::map<std::string, std::string> read_metadata(const Json& value, const Path& path) {
  std::map<std::string, std::string> metadata;
  if (!value.is_object()) fail(Fault::input, path.string(), ": __metadata__ is not an object");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) fail(Fault::input, path.string(), ": __metadata__ \"", key, "\" is not a string");
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

Spec read_spec(const std::string& name, const Json& value, const Path& path) {
  const std::string where = path.string() + ": the tensor \"" + name + "\"";
  const auto dtype_name = get<std::string>(value, "dtype", where);
  const auto* dtype =
      std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const auto& p) { return p.first == dtype_name; });
  if (dtype == std::end(kDTypes))
    fail(Fault::input, where, " has the dtype ", dtype_name, ", expected F64, F32, F16, BF16, U8, I8, I16 or I32");
  const auto shape = get<Json>(value, "shape", where);
  if (!shape.is_array() || shape.size() > Shape::kMaxRank)
    fail(Fault::input, where, " has a shape that is not a list of at most ", Shape::kMaxRank, " extents");
  std::vector<int64_t> extents;
  int64_t bytes = static_cast<int64_t>(size_of(dtype->second));
  for (const Json& extent : shape) {
    if (!extent.is_number_unsigned() || !std::in_range<int64_t>(extent.get<uint64_t>()) ||
        __builtin_mul_overflow(extent.get<int64_t>(), bytes, &bytes))
      fail(Fault::input, where, " has the shape ", shape.dump(), ", which is no shape");
    extents.push_back(extent.get<int64_t>());
  }
  return {Shape(extents), dtype->second};
}

Entry read_entry(const std::string& name, const Json& value, uint64_t data_bytes, const Path& path) {
  Entry entry{name, read_spec(name, value, path), 0, 0};
  const std::string where = path.string() + ": the tensor \"" + name + "\"";
  const auto offsets = get<Json>(value, "data_offsets", where);
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned())
    fail(Fault::input, where, " has data_offsets that are not two offsets");
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  if (entry.begin > entry.end || entry.end > data_bytes)
    fail_damaged(path, "its tensor \"", name, "\" lies at bytes ", entry.begin, " to ", entry.end, " of ", data_bytes);
  if (entry.end - entry.begin != entry.spec.bytes())
    fail(Fault::input, where, " of ", entry.spec.shape, ' ', name_of(entry.spec.dtype), " needs ", entry.spec.bytes(),
         " bytes, its offsets give ", entry.end - entry.begin);
  return entry;
}

// Leaves `file` at the first byte after the header.
Contents read_contents(StoredFile& file) {
  const Path& path = file.path();
  uint64_t header_bytes = 0;
  if (file.read(&header_bytes, sizeof header_bytes) < sizeof header_bytes)
    fail_damaged(path, "it is too short for a safetensors file");
  const uint64_t after = file.size() - sizeof header_bytes;
  if (header_bytes > after)
    fail_damaged(path, "its header should have ", header_bytes, " bytes, but ", after, " follow");
  std::string text(header_bytes, '\0');
  if (file.read(text.data(), text.size()) < text.size()) fail_damaged(path, "it ends in its header");
  if (!Json::accept(text)) fail_damaged(path, "its header is not JSON");
  const Json header = parse_json(text, path);
  if (!header.is_object()) fail_damaged(path, "its header is not a JSON object");
  Contents contents;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") contents.metadata = read_metadata(value, path);
    else contents.entries.push_back(read_entry(name, value, after - header_bytes, path));
  }
  auto& entries = contents.entries;
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t at = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != at)
      fail(Fault::input, path.string(), ": the tensor \"", entry.name, "\" ",
           entry.begin < at ? "overlaps another" : "follows a hole", ": it begins at byte ", entry.begin, ", expected ",
           at);
    at = entry.end;
  }
  if (at != after - header_bytes)
    fail_damaged(path, after - header_bytes, " bytes follow the header, its tensors have ", at);
  return contents;
}

std::string header_text(const std::vector<NamedView>& tensors, const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  size_t at = 0;
  for (const auto& [name, view] : tensors) {
    check(name != "__metadata__" && !header.contains(name), "write_safetensors: the name \"", name, "\" is taken");
    check(view.data || view.bytes() == 0, "write_safetensors: \"", name, "\" has no memory");
    Json& entry = header[name];
    entry["dtype"] = file_name_of(view.dtype);
    entry["shape"] = Json::array();
    for (int n = 0; n < view.shape.rank(); ++n) entry["shape"].push_back(view.shape[n]);
    entry["data_offsets"] = {at, at + view.bytes()};
    at += view.bytes();
  }
  std::string text = json_text(header, -1);
  constexpr size_t kAlign = 8;
  text.append((kAlign - text.size() % kAlign) % kAlign, ' ');  // so that tensors lie aligned when the file is mapped
  return text;
}

}  // namespace

void write_safetensors(const Path& path, const std::vector<NamedView>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string header = header_text(tensors, metadata);
  const uint64_t header_bytes = header.size();
  AtomicFile file(path);
  file.write(&header_bytes, sizeof header_bytes);
  file.write(header.data(), header.size());
  for (const NamedView& tensor : tensors) file.write(tensor.view.data, tensor.view.bytes());
  file.commit();
}

SafeTensors read_safetensors(const Path& path) {
  StoredFile file(path);
  Contents contents = read_contents(file);
  SafeTensors out{{}, std::move(contents.metadata)};
  for (const Entry& entry : contents.entries) {
    Tensor tensor = Tensor::empty(entry.spec.shape, entry.spec.dtype);
    if (file.read(tensor.view().data, tensor.bytes()) < tensor.bytes())
      fail(Fault::input, path.string(), ": ends in the tensor \"", entry.name, "\"");
    out.tensors.emplace(entry.name, std::move(tensor));
  }
  return out;
}

MappedSafeTensors::MappedSafeTensors(const Path& path, bool resident) {
  StoredFile file(path);
  const Contents contents = read_contents(file);
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail(Fault::input, path.string(), ": cannot be opened: ", std::strerror(errno));
  bytes_ = file.size();
  memory_ = ::mmap(nullptr, bytes_, PROT_READ, MAP_SHARED | (resident ? MAP_POPULATE : 0), descriptor, 0);
  const int error = errno;
  ::close(descriptor);
  if (memory_ == MAP_FAILED)
    fail(Fault::memory, path.string(), ": ", bytes_, " bytes cannot be mapped: ", std::strerror(error));
  const size_t first = bytes_ - (contents.entries.empty() ? 0 : contents.entries.back().end);
  for (const Entry& entry : contents.entries)
    tensors_[entry.name] = {static_cast<std::byte*>(memory_) + first + entry.begin, entry.spec.shape, entry.spec.dtype};
}

MappedSafeTensors::~MappedSafeTensors() { ::munmap(memory_, bytes_); }

SafeTensorsHeader read_safetensors_header(const Path& path) {
  StoredFile file(path);
  Contents contents = read_contents(file);
  SafeTensorsHeader out{{}, std::move(contents.metadata)};
  for (Entry& entry : contents.entries) out.specs.emplace(std::move(entry.name), entry.spec);
  return out;
}

}  // namespace metvox

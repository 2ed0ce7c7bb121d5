// SPDX-License-Identifier: Apache-2.0
#include "io/torch_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>

namespace metvox {
namespace {

constexpr uint64_t kMostPickleBytes = 64u << 20;  // of a checkpoint they are below 1 MiB

constexpr std::pair<std::string_view, DType> kTypes[] = {
    {"Double", DType::f64}, {"Float", DType::f32}, {"Half", DType::f16},  {"BFloat16", DType::bf16},
    {"Byte", DType::u8},    {"Char", DType::i8},   {"Short", DType::i16}, {"Int", DType::i32}};

// Says what a file is that is no zip archive, so that the reader knows what to do.
void refuse_other_formats(const Path& path) {
  StoredFile file(path);
  char head[8] = {};
  file.read(head, sizeof head);
  if (std::string_view(head, 2) == "PK") return;
  if (head[0] == '\x80')
    fail(Fault::input, path.string(),
         ": is a pickle outside of a zip archive, as PyTorch before 1.6 wrote; load it with a newer PyTorch in a place "
         "where it can do no harm, and save it again: torch.save(torch.load(FILE, weights_only=True), NEW_FILE)");
  fail(Fault::input, path.string(), ": is no file of torch.save(): it is no zip archive");
}

const Path& checked(const Path& path) {
  refuse_other_formats(path);
  return path;
}

// The pickle that write_torch_file() writes, opcode by opcode.
class Pickler {
 public:
  void opcode(int code) { out_ += static_cast<char>(code); }
  void global(const char* module, const char* name) {
    out_ += 'c';
    out_ += module;
    out_ += '\n';
    out_ += name;
    out_ += '\n';
  }
  void text(const std::string& value) {
    opcode('X');
    raw(static_cast<uint32_t>(value.size()));
    out_ += value;
  }
  void integer(int64_t value) {
    if (std::in_range<int32_t>(value)) {
      opcode('J');
      raw(static_cast<int32_t>(value));
      return;
    }
    opcode(0x8a);
    opcode(sizeof value);
    raw(value);
  }
  void real(double value) {
    opcode('G');
    raw(__builtin_bswap64(std::bit_cast<uint64_t>(value)));
  }
  void integers(const std::vector<int64_t>& values) {
    opcode('(');
    for (int64_t v : values) integer(v);
    opcode('t');
  }
  void json(const Json& value) {
    if (value.is_null()) opcode('N');
    else if (value.is_boolean()) opcode(value.get<bool>() ? 0x88 : 0x89);
    else if (value.is_number_integer()) integer(value.get<int64_t>());
    else if (value.is_number()) real(value.get<double>());
    else if (value.is_string()) text(value.get<std::string>());
    else if (value.is_array()) {
      opcode(']');
      opcode('(');
      for (const Json& item : value) json(item);
      opcode('e');
    } else {
      opcode('}');
      opcode('(');
      for (const auto& [key, item] : value.items()) text(key), json(item);
      opcode('u');
    }
  }
  // A dense f32 tensor that is the whole of a storage.
  void tensor(int64_t storage, const Shape& shape) {
    global("torch._utils", "_rebuild_tensor_v2");
    opcode('(');
    opcode('(');
    text("storage");
    global("torch", "FloatStorage");
    text(std::to_string(storage));
    text("cpu");
    integer(shape.size());
    opcode('t');
    opcode('Q');
    integer(0);
    std::vector<int64_t> extents, strides(static_cast<size_t>(shape.rank()), 1);
    for (int a = 0; a < shape.rank(); ++a) extents.push_back(shape[a]);
    for (size_t a = strides.size(); a-- > 1;) strides[a - 1] = strides[a] * extents[a];
    integers(extents);
    integers(strides);
    opcode(0x89);
    ordered_dict();
    opcode('t');
    opcode('R');
  }
  void ordered_dict() {
    global("collections", "OrderedDict");
    opcode(')');
    opcode('R');
  }
  const std::string& bytes() const { return out_; }

 private:
  template <class T>
  void raw(T value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  std::string out_;
};

}  // namespace

TorchFile::TorchFile(const Path& path)
    : zip_(checked(path)), folder_(find_folder()), pickle_(zip_.read(folder_ + "data.pkl", kMostPickleBytes), path) {}

std::string TorchFile::find_folder() const {
  std::string folder;
  constexpr std::string_view kPickle = "data.pkl";
  for (const std::string& name : zip_.names()) {
    if (name.ends_with("/constants.pkl"))
      fail(Fault::input, path().string(),
           ": is a TorchScript program, not weights; in Python, torch.save(torch.jit.load(FILE).state_dict(), "
           "NEW_FILE)");
    if (!name.ends_with("/data.pkl")) continue;
    if (!folder.empty()) fail(Fault::input, path().string(), ": holds two pickles, ", folder, kPickle, " and ", name);
    folder = name.substr(0, name.size() - kPickle.size());
  }
  if (folder.empty())
    fail(Fault::input, path().string(), ": is a zip archive without data.pkl, no file of torch.save()");
  if (const std::string order = folder + "byteorder"; zip_.has(order)) {
    const Bytes bytes = zip_.read(order, 16);
    if (std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()) != "little")
      fail(Fault::input, path().string(), ": its tensors are not little-endian; save it again on another machine");
  }
  return folder;
}

const Bytes& TorchFile::storage(const PickledTensor& tensor, uint64_t bytes, const std::string& name) {
  const std::string member = folder_ + "data/" + tensor.storage;
  if (!zip_.has(member)) fail(Fault::input, path().string(), ": lacks ", member, ", which holds ", name);
  if (zip_.bytes_of(member) != bytes)
    fail(Fault::input, path().string(), ": ", member, ", which holds ", name, ", has ", zip_.bytes_of(member),
         " bytes, but its pickle says ", bytes);
  if (last_ != member) {
    last_.clear();
    last_bytes_ = zip_.read(member, bytes);
    last_ = member;
  }
  return last_bytes_;
}

Tensor TorchFile::read(const PickledTensor& t, const std::string& name) {
  const auto type =
      std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& p) { return p.first == t.type; });
  if (type == std::end(kTypes)) fail(Fault::input, path().string(), ": ", name, " is of type ", t.type, ", no weight");
  if (t.shape.size() > Shape::kMaxRank)
    fail(Fault::input, path().string(), ": ", name, " has ", t.shape.size(), " extents; ", Shape::kMaxRank,
         " are the most");
  const size_t each = size_of(type->second);
  uint64_t bytes = 0;
  if (t.storage_elements < 0 || __builtin_mul_overflow(static_cast<uint64_t>(t.storage_elements), each, &bytes))
    fail(Fault::input, path().string(), ": ", name, " lies in a storage of ", t.storage_elements, " elements");
  const Bytes& from = storage(t, bytes, name);
  Tensor out = Tensor::empty(Shape(t.shape), type->second);
  auto* to = static_cast<std::byte*>(out.view().data);
  std::vector<int64_t> index(t.shape.size(), 0);
  const int64_t count = out.size();
  for (int64_t i = 0, at = t.first; i < count; ++i) {
    std::memcpy(to + static_cast<size_t>(i) * each, from.data() + static_cast<size_t>(at) * each, each);
    for (size_t a = index.size(); a-- > 0;) {
      at += t.strides[a];
      if (++index[a] < t.shape[a]) break;
      at -= t.strides[a] * t.shape[a];
      index[a] = 0;
    }
  }
  return out;
}

void write_torch_file(const Path& path, const std::string& key, const std::vector<TorchEntry>& tensors,
                      const Json& others) {
  std::map<const void*, int64_t> storages;
  std::vector<const View*> views;
  Pickler p;
  p.opcode(0x80);
  p.opcode(2);
  p.opcode('}');
  p.opcode('(');
  p.text(key);
  p.ordered_dict();
  p.opcode('(');
  for (const TorchEntry& entry : tensors) {
    check(entry.tensor.dtype == DType::f32, "write_torch_file: ", entry.name, " is not f32");
    const auto [place, fresh] = storages.emplace(entry.tensor.data, static_cast<int64_t>(views.size()));
    if (fresh) views.push_back(&entry.tensor);
    p.text(entry.name);
    p.tensor(place->second, entry.tensor.shape);
  }
  p.opcode('u');
  for (const auto& [name, value] : others.items()) p.text(name), p.json(value);
  p.opcode('u');
  p.opcode('.');
  ZipWriter zip(path);
  const std::string folder = "archive/";
  zip.add(folder + "data.pkl", p.bytes().data(), p.bytes().size());
  zip.add(folder + "byteorder", "little", 6);
  for (size_t i = 0; i < views.size(); ++i)
    zip.add(folder + "data/" + std::to_string(i), views[i]->data, views[i]->bytes());
  zip.add(folder + "version", "3\n", 2);
  zip.commit();
}

}  // namespace metvox

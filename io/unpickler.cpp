// SPDX-License-Identifier: Apache-2.0
#include "io/unpickler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "tensor/dtype.h"

namespace metvox {
namespace {

constexpr int kMark = -1;
constexpr size_t kMostValues = 1'000'000, kMostArguments = 16;

// Names that a checkpoint may hold, by what they stand for here.
constexpr std::string_view kNames[] = {"collections.OrderedDict",
                                       "_codecs.encode",
                                       "torch._utils._rebuild_tensor_v2",
                                       "torch._utils._rebuild_parameter",
                                       "torch.device",
                                       "torch.Size",
                                       "numpy.dtype",
                                       "numpy.ndarray",
                                       "numpy.core.multiarray.scalar",
                                       "numpy._core.multiarray.scalar",
                                       "numpy.core.multiarray._reconstruct",
                                       "numpy._core.multiarray._reconstruct"};
constexpr std::string_view kStorages[] = {"Double", "Float", "Half", "BFloat16", "Long",
                                          "Int",    "Short", "Char", "Byte",     "Bool"};

bool is_storage(const std::string& name) {
  return std::any_of(std::begin(kStorages), std::end(kStorages),
                     [&](std::string_view type) { return name == "torch." + std::string(type) + "Storage"; });
}

// What others than data name and call, for the sentence that refuses them.
std::string opcode_name(uint8_t opcode) {
  switch (opcode) {
    case 'i': return "INST";
    case 'o': return "OBJ";
    case 0x81: return "NEWOBJ";
    case 0x92: return "NEWOBJ_EX";
    case 0x82: return "EXT1";
    case 0x83: return "EXT2";
    case 0x84: return "EXT4";
    case 'P': return "PERSID";
    case 0x8f: return "EMPTY_SET";
    case 0x91: return "FROZENSET";
    case 0x97: return "NEXT_BUFFER";
    default: return sentence("number ", static_cast<int>(opcode));
  }
}

}  // namespace

template <class... Parts>
void Unpickler::fail_at(const Parts&... parts) const {
  fail(Fault::input, named_.string(), ": byte ", opcode_at_, " of its pickle: ", parts...);
}

void Unpickler::refuse(const std::string& what) const {
  fail_at("asks for ", what,
          ", which is neither tensors nor plain data; nothing of it was run. Save the weights alone, with "
          "torch.save(model.state_dict(), FILE), and look where the file comes from");
}

std::span<const std::byte> Unpickler::take(uint64_t bytes) {
  if (bytes > bytes_.size() - at_) fail_at("it ends where ", bytes, " more bytes should follow");
  const auto out = bytes_.subspan(at_, bytes);
  at_ += bytes;
  return out;
}

template <class T>
T Unpickler::number() {
  T value;
  std::memcpy(&value, take(sizeof value).data(), sizeof value);
  return value;
}

std::string Unpickler::text(uint64_t bytes) {
  const auto raw = take(bytes);
  return {reinterpret_cast<const char*>(raw.data()), raw.size()};
}

std::string Unpickler::line() {
  const auto end = std::find(bytes_.begin() + static_cast<long>(at_), bytes_.end(), std::byte{'\n'});
  std::string out = text(static_cast<uint64_t>(end - bytes_.begin()) - at_);
  take(1);
  return out;
}

int64_t Unpickler::long_integer(uint64_t bytes) {
  const auto raw = take(bytes);
  if (raw.size() > sizeof(int64_t)) fail_at("holds an integer of ", raw.size(), " bytes; 8 is the most");
  int64_t value = !raw.empty() && (raw.back() & std::byte{0x80}) != std::byte{} ? -1 : 0;
  std::memcpy(&value, raw.data(), raw.size());
  return value;
}

double Unpickler::big_endian_real() { return std::bit_cast<double>(__builtin_bswap64(number<uint64_t>())); }

int Unpickler::make(Node n) {
  made_bytes_ += n.text.size();
  if (made_bytes_ > 4 * bytes_.size() + kMostValues) fail_at("makes more text than a checkpoint holds");
  if (nodes_.size() >= kMostValues) fail_at("holds more than ", kMostValues, " values; no checkpoint does");
  nodes_.push_back(std::move(n));
  stack_.push_back(static_cast<int>(nodes_.size()) - 1);
  return stack_.back();
}

int Unpickler::top() const {
  if (stack_.empty() || stack_.back() == kMark) fail_at("takes a value where there is none");
  return stack_.back();
}

int Unpickler::pop() {
  const int id = top();
  stack_.pop_back();
  return id;
}

std::vector<int> Unpickler::pop_to_mark() {
  const auto mark = std::find(stack_.rbegin(), stack_.rend(), kMark);
  if (mark == stack_.rend()) fail_at("looks for a mark where there is none");
  const std::vector<int> items(mark.base(), stack_.end());
  stack_.erase(mark.base() - 1, stack_.end());
  return items;
}

std::vector<int> Unpickler::pop_many(size_t count) {
  std::vector<int> items(count);
  for (size_t i = count; i-- > 0;) items[i] = pop();
  return items;
}

const Pickle::Node& Unpickler::expect(int id, Kind kind, const char* what) const {
  const Node& n = nodes_[static_cast<size_t>(id)];
  if (n.kind != kind) fail_at("expects ", what);
  return n;
}

const Pickle::Node& Unpickler::argument(const Node& tuple, size_t index, Kind kind, const char* what) const {
  if (index >= tuple.items.size()) fail_at("expects ", what);
  return expect(tuple.items[index], kind, what);
}

int Unpickler::run() {
  for (;;) {
    opcode_at_ = at_;
    const auto opcode = number<uint8_t>();
    if (opcode == '.') return pop();
    if (!constant(opcode) && !container(opcode) && !memory(opcode) && !calls(opcode))
      refuse("the opcode " + opcode_name(opcode));
  }
}

bool Unpickler::constant(uint8_t opcode) {
  const auto put_text = [&](Kind kind, uint64_t bytes) { make(Node{kind, 0, 0, text(bytes), {}, {}}); };
  switch (opcode) {
    case 0x80: {  // PROTO
      const int protocol = number<uint8_t>();
      if (protocol < 2 || protocol > 5) fail_at("is of pickle protocol ", protocol, "; 2 to 5 are read");
      break;
    }
    case 0x95: take(8); break;  // FRAME
    case 'N': make(Kind::none, 0); break;
    case 0x88: make(Kind::boolean, 1); break;
    case 0x89: make(Kind::boolean, 0); break;
    case 'J': make(Kind::integer, number<int32_t>()); break;
    case 'K': make(Kind::integer, number<uint8_t>()); break;
    case 'M': make(Kind::integer, number<uint16_t>()); break;
    case 0x8a: make(Kind::integer, long_integer(number<uint8_t>())); break;
    case 0x8b: make(Kind::integer, long_integer(number<uint32_t>())); break;
    case 'G': make(Node{Kind::real, 0, big_endian_real(), {}, {}, {}}); break;
    case 0x8c: put_text(Kind::text, number<uint8_t>()); break;
    case 'X': put_text(Kind::text, number<uint32_t>()); break;
    case 0x8d: put_text(Kind::text, number<uint64_t>()); break;
    case 'U':  // SHORT_BINSTRING of Python 2, as in old checkpoints
    case 'C': put_text(opcode == 'U' ? Kind::text : Kind::bytes, number<uint8_t>()); break;
    case 'B': put_text(Kind::bytes, number<uint32_t>()); break;
    case 0x8e: put_text(Kind::bytes, number<uint64_t>()); break;
    default: return false;
  }
  return true;
}

void Unpickler::extend(int to, Kind kind, const std::vector<int>& items) {
  expect(to, kind, kind == Kind::dict ? "a dict to add to" : "a list to add to");
  if (kind == Kind::dict && items.size() % 2 != 0) fail_at("adds a key without a value");
  node(to).items.insert(node(to).items.end(), items.begin(), items.end());
}

bool Unpickler::container(uint8_t opcode) {
  const auto put = [&](Kind kind, std::vector<int> items) { make(Node{kind, 0, 0, {}, std::move(items), {}}); };
  switch (opcode) {
    case '(': stack_.push_back(kMark); break;
    case '}': put(Kind::dict, {}); break;
    case ']': put(Kind::list, {}); break;
    case ')': put(Kind::tuple, {}); break;
    case 0x85: put(Kind::tuple, pop_many(1)); break;
    case 0x86: put(Kind::tuple, pop_many(2)); break;
    case 0x87: put(Kind::tuple, pop_many(3)); break;
    case 't': put(Kind::tuple, pop_to_mark()); break;
    case 'l': put(Kind::list, pop_to_mark()); break;
    case 'd': {
      const std::vector<int> items = pop_to_mark();
      put(Kind::dict, {});
      extend(top(), Kind::dict, items);
      break;
    }
    case 'a':
    case 'e': {
      const std::vector<int> items = opcode == 'a' ? pop_many(1) : pop_to_mark();
      extend(top(), Kind::list, items);
      break;
    }
    case 's':
    case 'u': {
      const std::vector<int> items = opcode == 's' ? pop_many(2) : pop_to_mark();
      extend(top(), Kind::dict, items);
      break;
    }
    case '0':
      if (!stack_.empty() && stack_.back() == kMark) stack_.pop_back();
      else pop();
      break;
    case '1': pop_to_mark(); break;
    case '2': stack_.push_back(top()); break;
    default: return false;
  }
  if (stack_.size() > kMostValues) fail_at("piles up more than ", kMostValues, " values");
  return true;
}

void Unpickler::recall(uint32_t index) {
  const auto found = memo_.find(index);
  if (found == memo_.end()) fail_at("recalls what it did not keep");
  stack_.push_back(found->second);
  if (stack_.size() > kMostValues) fail_at("piles up more than ", kMostValues, " values");
}

bool Unpickler::memory(uint8_t opcode) {
  switch (opcode) {
    case 'q': memoize(number<uint8_t>()); break;
    case 'r': memoize(number<uint32_t>()); break;
    case 0x94: memoize(static_cast<uint32_t>(memo_.size())); break;
    case 'h': recall(number<uint8_t>()); break;
    case 'j': recall(number<uint32_t>()); break;
    default: return false;
  }
  return true;
}

bool Unpickler::calls(uint8_t opcode) {
  switch (opcode) {
    case 'c': {
      const std::string module = line(), name = line();
      global(module, name);
      break;
    }
    case 0x93: {  // STACK_GLOBAL
      const int name = pop(), module = pop();
      global(expect(module, Kind::text, "a module's name").text, expect(name, Kind::text, "a name").text);
      break;
    }
    case 'i': {
      const std::string module = line(), name = line();
      refuse(module + "." + name);
    }
    case 'Q': persistent(pop()); break;
    case 'R': {
      const int arguments = pop();
      const std::string callee = expect(pop(), Kind::global, "something to call").text;
      reduce(callee, arguments);
      break;
    }
    case 'b': {
      const int state = pop();
      build(top(), state);
      break;
    }
    default: return false;
  }
  return true;
}

int Unpickler::global(const std::string& module, const std::string& name) {
  const std::string full = module + "." + name;
  if (std::find(std::begin(kNames), std::end(kNames), full) == std::end(kNames) && !is_storage(full)) refuse(full);
  return make(Node{Kind::global, 0, 0, full, {}, {}});
}

// ("storage", torch.FloatStorage, key, device, elements)
int Unpickler::persistent(int id) {
  const Node& tuple = expect(id, Kind::tuple, "the place of a storage");
  if (argument(tuple, 0, Kind::text, "the place of a storage").text != "storage") refuse("a foreign object");
  const std::string type = argument(tuple, 1, Kind::global, "a storage's class").text;
  if (!is_storage(type)) refuse("a storage of " + type);
  PickledTensor place;
  place.type = type.substr(6, type.size() - 6 - std::string_view("Storage").size());
  place.storage = argument(tuple, 2, Kind::text, "a storage's key").text;
  place.storage_elements = argument(tuple, 4, Kind::integer, "a storage's size").integer;
  return make(Node{Kind::storage, 0, 0, {}, {}, std::make_shared<const PickledTensor>(place)});
}

std::vector<int64_t> Unpickler::integers(int tuple) const {
  const Node& n = expect(tuple, Kind::tuple, "a tuple of integers");
  if (n.items.size() > kMostArguments) fail_at("holds a shape of ", n.items.size(), " extents");
  std::vector<int64_t> out;
  for (size_t i = 0; i < n.items.size(); ++i)
    out.push_back(argument(n, i, Kind::integer, "a tuple of integers").integer);
  return out;
}

// (storage, first element, shape, strides, requires_grad, hooks, ...): within its storage, each element once at most.
int Unpickler::rebuilt_tensor(const Node& arguments) {
  PickledTensor t = *argument(arguments, 0, Kind::storage, "a tensor's storage").tensor;
  t.first = argument(arguments, 1, Kind::integer, "a tensor's first element").integer;
  if (arguments.items.size() < 4) fail_at("expects a tensor's shape and strides");
  t.shape = integers(arguments.items[2]);
  t.strides = integers(arguments.items[3]);
  int64_t count = 1, last = t.first;
  bool ok = t.shape.size() == t.strides.size() && t.first >= 0;
  for (size_t a = 0; ok && a < t.shape.size(); ++a) {
    int64_t reach = 0;
    ok = t.shape[a] >= 0 && t.strides[a] >= 0 && !__builtin_mul_overflow(count, t.shape[a], &count) &&
         !__builtin_mul_overflow(std::max<int64_t>(t.shape[a] - 1, 0), t.strides[a], &reach) &&
         !__builtin_add_overflow(last, reach, &last);
  }
  if (!ok || count > t.storage_elements || (count > 0 && last >= t.storage_elements))
    fail_at("a tensor reaches beyond its storage of ", t.storage_elements, " elements");
  return make(Node{Kind::tensor, 0, 0, {}, {}, std::make_shared<const PickledTensor>(std::move(t))});
}

// encode(text, "latin1"): how protocol 2 writes bytes.
int Unpickler::encoded(const Node& arguments) {
  const std::string& utf8 = argument(arguments, 0, Kind::text, "text to encode").text;
  if (argument(arguments, 1, Kind::text, "an encoding").text != "latin1") fail_at("encodes as other than latin1");
  std::string out;
  for (size_t i = 0; i < utf8.size(); ++i) {
    const auto c = static_cast<uint8_t>(utf8[i]);
    const bool two = (c == 0xc2 || c == 0xc3) && i + 1 < utf8.size();
    if (c >= 0x80 && !two) fail_at("encodes what latin1 has not");
    out += two ? static_cast<char>((c & 3) << 6 | (static_cast<uint8_t>(utf8[++i]) & 0x3f)) : static_cast<char>(c);
  }
  return make(Node{Kind::bytes, 0, 0, std::move(out), {}, {}});
}

int Unpickler::scalar(const std::string& dtype, const std::string& raw) {
  const auto as = [&]<class T>(T value) {
    if (raw.size() != sizeof value) fail_at("a NumPy scalar ", dtype, " of ", raw.size(), " bytes");
    std::memcpy(&value, raw.data(), sizeof value);
    if constexpr (std::is_integral_v<T>) return make(Kind::integer, static_cast<int64_t>(value));
    else return make(Node{Kind::real, 0, static_cast<double>(value), {}, {}, {}});
  };
  if (dtype == "f8") return as(double{});
  if (dtype == "f4") return as(float{});
  if (dtype == "f2") {
    const int id = as(uint16_t{});
    f16 half;
    half.bits = static_cast<uint16_t>(node(id).integer);
    node(id).kind = Kind::real;
    node(id).real = static_cast<double>(static_cast<float>(half));
    return id;
  }
  if (dtype == "i8") return as(int64_t{});
  if (dtype == "u8") return as(uint64_t{});
  if (dtype == "i4") return as(int32_t{});
  if (dtype == "u4") return as(uint32_t{});
  if (dtype == "i2") return as(int16_t{});
  if (dtype == "u2") return as(uint16_t{});
  if (dtype == "i1") return as(int8_t{});
  if (dtype == "u1") return as(uint8_t{});
  if (dtype == "b1") {
    const int id = as(uint8_t{});
    node(id).kind = Kind::boolean;
    return id;
  }
  refuse("a NumPy value of type " + dtype);
}

int Unpickler::reduce(const std::string& callee, int arguments) {
  const Node& given = expect(arguments, Kind::tuple, "a tuple of arguments");
  if (given.items.size() > kMostArguments) fail_at("gives ", callee, ' ', given.items.size(), " arguments");
  const Node args = given;  // values that are made move the others
  const auto is = [&](std::string_view name) { return callee.ends_with(name); };
  if (is("OrderedDict")) {
    if (!args.items.empty()) fail_at("an OrderedDict with arguments");
    return make(Node{Kind::dict, 0, 0, {}, {}, {}});
  }
  if (is(".encode")) return encoded(args);
  if (is("._rebuild_tensor_v2")) return rebuilt_tensor(args);
  if (is("._rebuild_parameter")) {
    argument(args, 0, Kind::tensor, "a parameter's tensor");
    stack_.push_back(args.items[0]);
    return args.items[0];
  }
  if (is("torch.device")) return make(Node{Kind::text, 0, 0, argument(args, 0, Kind::text, "a device").text, {}, {}});
  if (is("torch.Size")) {
    argument(args, 0, Kind::tuple, "a size");
    stack_.push_back(args.items[0]);
    return args.items[0];
  }
  if (is("numpy.dtype"))
    return make(Node{Kind::dtype, 0, 0, argument(args, 0, Kind::text, "the name of a NumPy type").text, {}, {}});
  if (is(".scalar"))
    return scalar(argument(args, 0, Kind::dtype, "a NumPy type").text,
                  argument(args, 1, Kind::bytes, "a scalar's bytes").text);
  if (is("._reconstruct")) return make(Node{Kind::array, 0, 0, {}, {}, {}});
  refuse("a call of " + callee);
}

void Unpickler::build(int target, int state) {
  const Kind kind = node(target).kind;
  if (kind == Kind::dict) return;  // a state dict's _metadata: versions of layers
  const Node& args = expect(state, Kind::tuple, "the state of a NumPy value");
  if (kind == Kind::dtype) {
    if (argument(args, 1, Kind::text, "a byte order").text == ">") refuse("NumPy values in big-endian order");
    return;
  }
  if (kind != Kind::array) refuse("to change a finished value");
  // (version, shape, type, Fortran's order, bytes)
  if (args.items.size() != 5) fail_at("expects the state of a NumPy array");
  size_t count = 1;
  for (int64_t extent : integers(args.items[1]))
    if (extent < 0 || __builtin_mul_overflow(count, static_cast<size_t>(extent), &count))
      fail_at("an array of no shape");
  const std::string& bytes = argument(args, 4, Kind::bytes, "an array's bytes").text;
  const size_t each = count > 0 ? bytes.size() / count : 0;
  if (count * each != bytes.size() || each > sizeof(double))
    fail_at("an array of ", count, " numbers in ", bytes.size(), " bytes");
  const std::string raw = bytes, type = argument(args, 2, Kind::dtype, "an array's type").text;
  std::vector<int> numbers;
  for (size_t i = 0; i < count; ++i) {
    numbers.push_back(scalar(type, raw.substr(i * each, each)));
    pop();
  }
  node(target).items = std::move(numbers);
}

}  // namespace metvox

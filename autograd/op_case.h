// SPDX-License-Identifier: Apache-2.0
// OpCase: an op declared once for checking and timing. From it come the forward and backward check of every engine and
// type against the reference in double, the gradient check, poison and sentinels, and a row of `metvox bench`.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "autograd/program.h"

namespace metvox {

// Makes a case's inputs, with random data by name: activations and parameters standard normal, labels below `count`.
class CaseBuilder {
 public:
  explicit CaseBuilder(Graph& graph) : graph_(graph) {}
  Value activation(const std::string& name, const Shape& shape);
  Value parameter(const std::string& name, const Shape& shape);
  Value labels(const std::string& name, const Shape& shape, int count);

  struct Input {
    Value value;
    int labels = 0;  // how many labels, 0 for an activation
  };
  const std::vector<Input>& inputs() const { return inputs_; }
  int64_t parameter_count() const { return parameters_; }

 private:
  Graph& graph_;
  std::vector<Input> inputs_;
  int64_t parameters_ = 0;
};

enum class Use { test, bench };  // test: small, and gradient-checked; bench: as large as in a network

struct OpCase {
  std::string op, name;
  Use use = Use::test;
  std::function<Value(CaseBuilder&)> build = {};
  double flops = 0;           // of one forward pass; 0: bound by memory
  double values = 0;          // activations read and written by one forward pass
  double terms = 1;           // products summed into one output, for the tolerance
  double gradient_terms = 1;  // the same for the gradient with most
  double slack = 1;           // an op that needs another tolerance says why beside it
  std::string line() const { return op + " " + name; }
};

struct OpCaseEntry {
  explicit OpCaseEntry(OpCase c);
};
const std::vector<OpCase>& op_cases();

}  // namespace metvox

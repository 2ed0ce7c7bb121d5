// SPDX-License-Identifier: Apache-2.0
// segmentation_loss on the GPU. A thread reads the logits of a voxel as they lie, all heads; a block has a chunk of one
// sample's voxels. Sums: in float over the few voxels of a thread and the threads of a warp, in double from there on; a
// row of scratch for each block, and a second kernel adds the rows in order (no atomics: the same bits each time).
// Heads beyond kMostHeads go in groups, a row of blocks each. Not yet run on hardware.
#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/vector.h"
#include "kernels/segmentation_loss_engines.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

using Problem = SegmentationLossProblem;

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kVoxelsPerThread = 16, kChunk = kThreads * kVoxelsPerThread;
constexpr int kFewHeads = 4, kMostHeads = 8;  // whose sums a thread holds
constexpr int kPerHead = Problem::kPerHead;

// The problem as kernels see it.
struct LossShape {
  Problem q;
  int64_t voxels, chunks;
  int heads, groups;
  uint64_t known;  // bit l set: label l belongs to some head

  explicit LossShape(const Problem& problem)
      : q(problem),
        voxels(volume(problem.extent)),
        chunks((voxels + kChunk - 1) / kChunk),
        heads(problem.heads.count),
        groups((heads + kMostHeads - 1) / kMostHeads),
        known(0) {
    for (int r = 0; r < heads; ++r) known |= q.heads.labels[r];
  }
  // Of scratch, for each sample: the sums of every head, then the two of the voxel term for each group.
  METVOX_HD int64_t rows() const { return int64_t{heads} * kPerHead + 2 * groups; }

  METVOX_DEVICE uint8_t label(const uint8_t* labels, int64_t sample, int64_t voxel) const {
    const Int3 &e = q.extent, &full = q.label_extent;
    if (e[0] == full[0] && e[1] == full[1] && e[2] == full[2]) return labels[sample * voxels + voxel];
    const int64_t row = voxel / e[2], d = row / e[1], h = row - d * e[1], w = voxel - row * e[2];
    const int64_t at = (sample * full[0] + q.label_index(0, d)) * full[1] + q.label_index(1, h);
    return labels[at * full[2] + q.label_index(2, w)];
  }
};

// e = e^-|z|; for 1 - p, with all its digits, of -z.
METVOX_DEVICE float sigmoid(float z, float e) { return (z >= 0 ? 1.0f : e) / (1 + e); }

// Of a voxel's logits: the first largest one, and the sum of e^(z - top) of the others, apart from it so that a sure
// voxel keeps its digits.
struct Largest {
  int head = 0;
  float top, others = 0;

  template <class T>
  METVOX_DEVICE Largest(const T* z, int heads) : top(to_float(z[0])) {
    for (int r = 1; r < heads; ++r) {
      const float v = to_float(z[r]);
      if (v > top) top = v, head = r;
    }
    for (int r = 0; r < heads; ++r)
      if (r != head) others += expf(to_float(z[r]) - top);
  }
  METVOX_DEVICE float probability(float z) const { return expf(z - top) / (1 + others); }
};

// A thread's sums of one head.
struct HeadSums {
  float intersection = 0, prediction = 0;
  int truth = 0, decided = 0, both = 0;

  METVOX_DEVICE void add(float p, bool g, bool hit) {
    prediction += p;
    if (g) intersection += p;
    truth += g, decided += hit, both += g && hit;
  }
};

// What the threads of a block add up to: one double for each of kCount.
template <int kCount>
struct BlockSums {
  double (*of_warp)[kWarps];  // shared, [kCount]

  METVOX_DEVICE void put(int k, double warp_total) {
    if (threadIdx.x % 32 == 0) of_warp[k][threadIdx.x / 32] = warp_total;
  }
  METVOX_DEVICE double total(int k) const {
    double sum = 0;
    for (int w = 0; w < kWarps; ++w) sum += of_warp[k][w];
    return sum;
  }
};

// Grid: (samples x chunks, groups of kHeads heads).
template <class T, int kHeads>
__global__ void __launch_bounds__(kThreads)
    loss_sums(const T* logits, const uint8_t* labels, LossShape shape, double* rows) {
  METVOX_SHARED(double, of_warp, [kHeads * kPerHead + 2][kWarps]);
  const Problem& q = shape.q;
  const int heads = shape.heads, first = static_cast<int>(blockIdx.y) * kHeads;
  const int64_t sample = blockIdx.x / shape.chunks, chunk = blockIdx.x % shape.chunks;
  HeadSums head[kHeads];
  float term = 0;
  int summands = 0;
  for (int k = 0; k < kVoxelsPerThread; ++k) {
    const int64_t voxel = chunk * kChunk + k * kThreads + threadIdx.x;
    if (voxel >= shape.voxels) break;
    const uint8_t label = shape.label(labels, sample, voxel);
    if (label == q.ignore_label) continue;
    const T* z = logits + (sample * shape.voxels + voxel) * heads;
    if (q.softmax) {
      const Largest largest(z, heads);
      const float log_others = log1pf(largest.others);
      if (first == 0) summands += label < 64 && (shape.known >> label & 1) != 0;
#pragma unroll
      for (int r = 0; r < kHeads; ++r) {
        if (first + r >= heads) break;
        const float v = to_float(z[first + r]);
        const bool g = q.heads.contains(first + r, label);
        head[r].add(largest.probability(v), g, first + r == largest.head);
        if (g) term += largest.top - v + log_others;
      }
    } else {
#pragma unroll
      for (int r = 0; r < kHeads; ++r) {
        if (first + r >= heads) break;
        const float v = to_float(z[first + r]), e = expf(-fabsf(v));
        const bool g = q.heads.contains(first + r, label);
        head[r].add(sigmoid(v, e), g, v > 0);
        const float away = g ? -v : v;  // BCE is log(1 + e^away)
        term += ((away > 0 ? away : 0) + log1pf(e)) * (g ? 1 + static_cast<float>(q.positive_weight) : 1);
        ++summands;
      }
    }
  }
  BlockSums<kHeads * kPerHead + 2> sums{of_warp};
#pragma unroll
  for (int r = 0; r < kHeads; ++r) {
    const int truth = warp_sum(head[r].truth), decided = warp_sum(head[r].decided), both = warp_sum(head[r].both);
    sums.put(r * kPerHead, warp_sum(head[r].intersection));
    sums.put(r * kPerHead + 1, warp_sum(head[r].prediction));
    sums.put(r * kPerHead + 2, truth);
    sums.put(r * kPerHead + 3, both);
    sums.put(r * kPerHead + 4, decided - both);
    sums.put(r * kPerHead + 5, truth - both);
  }
  sums.put(kHeads * kPerHead, warp_sum(term));
  sums.put(kHeads * kPerHead + 1, warp_sum(summands));
  __syncthreads();
  const int k = static_cast<int>(threadIdx.x), of_heads = min(kHeads, heads - first) * kPerHead;
  double* to = rows + sample * shape.rows() * shape.chunks + chunk;
  if (k < of_heads) to[(first * kPerHead + k) * shape.chunks] = sums.total(k);
  else if (k < of_heads + 2)
    to[(heads * kPerHead + 2 * static_cast<int64_t>(blockIdx.y) + k - of_heads) * shape.chunks] =
        sums.total(kHeads * kPerHead + k - of_heads);
}

// A block for each of sums_count().
__global__ void __launch_bounds__(512) add_rows(const double* rows, LossShape shape, double* sums) {
  const int64_t of_sample = int64_t{shape.heads} * kPerHead, of_heads = shape.q.n * of_sample, k = blockIdx.x;
  double sum = 0;
  const auto add = [&](int64_t sample, int64_t row) {
    const double* from = rows + (sample * shape.rows() + row) * shape.chunks;
    for (int64_t i = threadIdx.x; i < shape.chunks; i += blockDim.x) sum += from[i];
  };
  if (k < of_heads) {
    add(k / of_sample, k % of_sample);
  } else {
    for (int64_t sample = 0; sample < shape.q.n; ++sample)
      for (int group = 0; group < shape.groups; ++group) add(sample, of_sample + 2 * group + k - of_heads);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[k] = sum;
}

// Grid: samples x chunks.
template <class T>
__global__ void __launch_bounds__(kThreads, 4)
    loss_gradient(const T* logits, const uint8_t* labels, LossShape shape, const double* coefficients, const float* dy,
                  T* dlogits, bool accumulate) {
  METVOX_SHARED(float, c, [2 * RegionTable::kMaxHeads + 1]);  // of each head dL/dI, dL/dP; of the voxel term
  const Problem& q = shape.q;
  const int heads = shape.heads;
  const int64_t sample = blockIdx.x / shape.chunks, chunk = blockIdx.x % shape.chunks;
  for (int i = static_cast<int>(threadIdx.x); i <= 2 * heads; i += kThreads)
    c[i] = static_cast<float>(static_cast<double>(*dy) *
                              coefficients[i < 2 * heads ? sample * 2 * heads + i : q.n * 2 * heads]);
  __syncthreads();
  const float weight = c[2 * heads], positive = 1 + static_cast<float>(q.positive_weight);
  for (int k = 0; k < kVoxelsPerThread; ++k) {
    const int64_t voxel = chunk * kChunk + k * kThreads + threadIdx.x;
    if (voxel >= shape.voxels) break;
    const int64_t at = (sample * shape.voxels + voxel) * heads;
    const T* z = logits + at;
    const auto put = [&](int r, float v) {
      T& to = dlogits[at + r];
      to = from_float<T>(accumulate ? to_float(to) + v : v);
    };
    const uint8_t label = shape.label(labels, sample, voxel);
    if (label == q.ignore_label) {
      for (int r = 0; r < heads; ++r) put(r, 0);
    } else if (q.softmax) {
      // dL/dp_k = c_k g_k + c'_k through the Jacobian dp_k/dz_r = p_k (delta_kr - p_r), and the voxel term.
      const Largest largest(z, heads);
      float mean = 0, truths = 0;
      for (int r = 0; r < heads; ++r) {
        const float g = q.heads.contains(r, label) ? 1.0f : 0.0f;
        mean += largest.probability(to_float(z[r])) * (c[2 * r] * g + c[2 * r + 1]);
        truths += g;
      }
      for (int r = 0; r < heads; ++r) {
        const float g = q.heads.contains(r, label) ? 1.0f : 0.0f, p = largest.probability(to_float(z[r]));
        put(r, p * (c[2 * r] * g + c[2 * r + 1] - mean) + weight * (truths * p - g));
      }
    } else {
      for (int r = 0; r < heads; ++r) {
        const bool g = q.heads.contains(r, label);
        const float v = to_float(z[r]), e = expf(-fabsf(v)), p = sigmoid(v, e), other = sigmoid(-v, e);
        put(r, ((g ? c[2 * r] : 0) + c[2 * r + 1]) * p * other + weight * (g ? -positive * other : p));
      }
    }
  }
}

template <class T>
class GpuLoss final : public SegmentationLossKernel {
 public:
  explicit GpuLoss(const Problem& problem) : shape_(problem) {}

  size_t scratch_bytes() const override {
    return static_cast<size_t>(shape_.q.n * shape_.rows() * shape_.chunks) * sizeof(double);
  }

  void sums(Stream& stream, View logits, View labels, double* sums, void* scratch) const override {
    shape_.q.check_views(logits, labels);
    auto* rows = static_cast<double*>(scratch);
    const auto kernel = shape_.heads <= kFewHeads ? loss_sums<T, kFewHeads> : loss_sums<T, kMostHeads>;
    launch(kernel, dim3(blocks(), static_cast<unsigned>(shape_.groups)), dim3(kThreads), 0, stream, logits.as<T>(),
           labels.as<uint8_t>(), shape_, rows);
    launch(add_rows, dim3(static_cast<unsigned>(shape_.q.sums_count())), sum_threads(shape_.chunks, 4), 0, stream, rows,
           shape_, sums);
  }

  void gradient(Stream& stream, View logits, View labels, const double* coefficients, View dy, View dlogits, Grad grad,
                void*) const override {
    if (grad == Grad::ignore) return;
    shape_.q.check_views(logits, labels);
    launch(loss_gradient<T>, dim3(blocks()), dim3(kThreads), 0, stream, logits.as<T>(), labels.as<uint8_t>(), shape_,
           coefficients, dy.as<float>(), dlogits.as<T>(), grad == Grad::accumulate);
  }

 private:
  unsigned blocks() const { return static_cast<unsigned>(shape_.q.n * shape_.chunks); }
  const LossShape shape_;
};

}  // namespace

Engine<Problem, SegmentationLossKernel> segmentation_loss_native() {
  return {"native", kKernelDevice,
          [](const Problem& problem) -> std::optional<std::string> {
            if (problem.dtype == DType::f64) return "f64 stays on the CPU";
            return std::nullopt;
          },
          [](const Problem& problem) {
            problem.validate();
            std::unique_ptr<SegmentationLossKernel> kernel;
            dispatch_type(problem.dtype, [&]<class T>() { kernel = std::make_unique<GpuLoss<T>>(problem); });
            return kernel;
          }};
}

}  // namespace metvox::METVOX_KERNEL_NS

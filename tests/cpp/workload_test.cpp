#include "quantloom/workload.hpp"

#include "fixtures.hpp"

namespace quantloom {
namespace {

using test::caught_from;
using test::conv1d;
using test::matmul;

constexpr Count kLargest = Count{1} << 31;

// A valid workload to spoil: y[i] += x[i] over one dim.
struct Draft {
  std::vector<Dim> dims{{"i", 4}};
  std::vector<TensorSpec> tensors{{"x", {{{0, 1}}}, false}, {"y", {{{0, 1}}}, true}};
  [[nodiscard]] std::string error() const {
    const auto caught = caught_from([&] { (void)Workload("w", dims, tensors); });
    EXPECT_EQ(caught.kind, ErrorKind::workload);
    EXPECT_EQ(caught.message.substr(0, 14), "workload 'w': ");
    return caught.message.substr(14);
  }
};

TEST(Workload, TheDraftIsValid) {
  const Draft draft;
  EXPECT_EQ(Workload("w", draft.dims, draft.tensors).macs(), 4);
}

TEST(Workload, CountsOfDimsAreChecked) {
  Draft draft;
  draft.dims.clear();
  EXPECT_EQ(draft.error(), "has 0 dims, expected 1 to 16");
  for (int i = 0; i < 17; ++i) draft.dims.push_back({"d" + std::to_string(i), 1});
  EXPECT_EQ(draft.error(), "has 17 dims, expected 1 to 16");
}

TEST(Workload, BoundsAreChecked) {
  Draft draft;
  for (const Count bound : {Count{0}, Count{-1}, kLargest + 1}) {
    draft.dims = {{"i", bound}};
    EXPECT_EQ(draft.error(), "dim 'i' has bound " + std::to_string(bound) + ", expected 1 to 2^31");
  }
  draft.dims = {{"i", kLargest}};
  EXPECT_EQ(Workload("w", draft.dims, draft.tensors).macs(), kLargest);
}

TEST(Workload, NamesAreChecked) {
  Draft draft;
  draft.dims = {{"i", 1}, {"", 1}};
  EXPECT_EQ(draft.error(), "dim 1 has no name");
  draft.dims = {{"i", 1}, {"i", 2}};
  EXPECT_EQ(draft.error(), "dim 'i' is given twice");
  draft = {};
  draft.tensors[0].name = "";
  EXPECT_EQ(draft.error(), "a tensor has no name");
  draft.tensors[0].name = "y";
  EXPECT_EQ(draft.error(), "tensor 'y' is given twice");
}

TEST(Workload, CountsOfTensorsAreChecked) {
  Draft draft;
  draft.tensors.pop_back();
  EXPECT_EQ(draft.error(), "has 1 tensors, expected 2 to 8");
  draft = {};
  for (int i = 0; i < 7; ++i) draft.tensors.push_back({"t" + std::to_string(i), {}, false});
  EXPECT_EQ(draft.error(), "has 9 tensors, expected 2 to 8");
}

TEST(Workload, ExactlyOneTensorIsTheOutput) {
  Draft draft;
  draft.tensors[0].is_output = true;
  EXPECT_EQ(draft.error(), "has 2 output tensors, expected exactly one");
  draft.tensors[0].is_output = draft.tensors[1].is_output = false;
  EXPECT_EQ(draft.error(), "has 0 output tensors, expected exactly one");
}

TEST(Workload, RanksAndTermsAreChecked) {
  Draft draft;
  draft.tensors[0].ranks.assign(9, {{0, 1}});
  EXPECT_EQ(draft.error(), "tensor 'x' has 9 ranks, expected at most 8");
  draft.tensors[0].ranks = {{}};
  EXPECT_EQ(draft.error(), "tensor 'x' has a rank without terms");
  draft.tensors[0].ranks = {{{1, 1}}};
  EXPECT_EQ(draft.error(), "tensor 'x' uses dim number 1, which does not exist");
  draft.tensors[0].ranks = {{{-1, 1}}};
  EXPECT_EQ(draft.error(), "tensor 'x' uses dim number -1, which does not exist");
  draft.tensors[0].ranks = {{{0, 1}, {0, 2}}};
  EXPECT_EQ(draft.error(), "tensor 'x' uses one dim twice in a rank");
  for (const Count coefficient : {Count{0}, Count{-3}, kLargest + 1}) {
    draft.tensors[0].ranks = {{{0, coefficient}}};
    EXPECT_EQ(draft.error(),
              "tensor 'x': coefficient " + std::to_string(coefficient) + " of dim 'i', expected 1 to 2^31");
  }
}

// The bounding box of a window is what a walk over all its points reaches.
TEST(Workload, ElementsOfAWindowAreThoseOfItsBoundingBox) {
  for (Count p = 1; p <= 6; ++p) {
    for (Count r = 1; r <= 4; ++r) {
      for (Count stride = 1; stride <= 5; ++stride) {
        Count last = 0;
        for (Count i = 0; i < p; ++i) {
          for (Count j = 0; j < r; ++j) last = std::max(last, stride * i + j);
        }
        const Workload workload = conv1d(p, r, stride);
        EXPECT_EQ(workload.tensor_elements(1), last + 1);
        EXPECT_EQ(workload.tensor_elements(0), r);
        EXPECT_EQ(workload.macs(), p * r);
        EXPECT_EQ(workload.has_window(1), p > 1 && r > 1);
        EXPECT_FALSE(workload.has_window(0));
      }
    }
  }
}

TEST(Workload, NamesAndRelevance) {
  const Workload workload = matmul(2, 3, 5);
  EXPECT_EQ(workload.find_dim("C"), 1);
  EXPECT_EQ(workload.find_dim("Q"), -1);
  EXPECT_EQ(workload.find_tensor("Outputs"), 2);
  EXPECT_EQ(workload.find_tensor("outputs"), -1);
  EXPECT_TRUE(workload.is_relevant(0, 0));
  EXPECT_FALSE(workload.is_relevant(1, 0));
  EXPECT_EQ(workload, matmul(2, 3, 5));
  EXPECT_NE(workload, matmul(2, 3, 6));
}

TEST(Workload, ATensorWithoutRanksIsOneElement) {
  const Workload workload("sum", {{"i", 7}}, {{"x", {{{0, 1}}}, false}, {"total", {}, true}});
  EXPECT_EQ(workload.tensor_elements(1), 1);
  EXPECT_FALSE(workload.is_relevant(1, 0));
}

TEST(Workload, HugeProductsSaturate) {
  EXPECT_EQ(matmul(kLargest, kLargest, 1).macs(), kLargest * kLargest);
  EXPECT_EQ(matmul(kLargest, kLargest, 2).macs(), kSaturated);
  EXPECT_EQ(matmul(kLargest, kLargest, kLargest).macs(), kSaturated);
  EXPECT_EQ(matmul(kLargest, kLargest, kLargest).tensor_elements(0), kLargest * kLargest);
  EXPECT_EQ(conv1d(kLargest, kLargest, kLargest).tensor_elements(1), (kLargest - 1) * kLargest + kLargest);
}

}  // namespace
}  // namespace quantloom

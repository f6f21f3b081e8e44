#include "nn/checkpoint.h"

#include "nn/autograd.h"

namespace verbatim::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct CheckpointFunction : torch::autograd::Function<CheckpointFunction> {
  // Inputs as a TensorList: of a std::vector, Function::apply would not see that it holds tensors, and cut the graph.
  static variable_list forward(AutogradContext* context, const TensorFunction* function, at::TensorList input_list) {
    const variable_list inputs = input_list.vec();
    context->save_for_backward(inputs);
    // The caller's function may die before the backward pass runs.
    context->saved_data["function"] = c10::IValue::make_capsule(c10::make_intrusive<Holder>(*function));
    torch::NoGradGuard no_grad;
    return (*function)(inputs);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    variable_list inputs;
    for (const at::Tensor& saved : context->get_saved_variables()) {
      at::Tensor input = saved.detach();
      if (input.is_floating_point()) input.requires_grad_(true);
      inputs.push_back(input);
    }
    variable_list outputs;
    {
      torch::AutoGradMode grad(true);
      const auto holder = c10::static_intrusive_pointer_cast<Holder>(context->saved_data["function"].toCapsule());
      outputs = holder->function(inputs);
    }
    variable_list roots, root_gradients;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!gradients[i].defined() || !outputs[i].requires_grad()) continue;
      roots.push_back(outputs[i]);
      root_gradients.push_back(gradients[i]);
    }
    torch::autograd::backward(roots, root_gradients);
    variable_list result{at::Tensor()};  // the function pointer
    for (const at::Tensor& input : inputs) result.push_back(input.grad());
    return result;
  }

 private:
  struct Holder : torch::CustomClassHolder {
    explicit Holder(TensorFunction held) : function(std::move(held)) {}
    TensorFunction function;
  };
};

}  // namespace

std::vector<at::Tensor> checkpoint(const TensorFunction& function, const std::vector<at::Tensor>& inputs) {
  return CheckpointFunction::apply(&function, at::TensorList(inputs));
}

}  // namespace verbatim::nn

"""The methods that explain an answer, as a table: plain data, so that pages can offer them without loading Keras."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        name: as in files and calls.
        title: for people.
        sentence: what it does, for people.
        any_layer: whether it can be asked of any cut point; if not, it looks at the image alone.
    """

    name: str
    title: str
    sentence: str
    any_layer: bool = True


METHODS = {
    method.name: method
    for method in (
        Method("gradcam", "Grad-CAM", "Each channel of the layer counts by its mean gradient."),
        Method("hirescam", "HiResCAM", "Each place of each channel counts by its own gradient."),
        Method("gradcam++", "Grad-CAM++", "Each channel counts by a weighted mean of its positive gradients."),
        Method("layercam", "LayerCAM", "Each place of each channel counts by its own gradient where that is positive."),
        Method(
            "integrated",
            "Integrated gradients",
            "The gradients on the way from the blurred image to the sharp one, summed over small squares.",
        ),
        Method(
            "occlusion",
            "Occlusion",
            "One patch after another is blurred: how far the answer falls.",
            any_layer=False,
        ),
    )
}
DEFAULT_METHOD = "integrated"
"""The method whose maps point best at what the network uses; `core.evaluation.heatmaps` measures it for each run."""
